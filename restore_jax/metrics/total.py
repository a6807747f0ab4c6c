"""Several metrics as one."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from restore_jax.core import Metric


@dataclass(frozen=True)
class Total:
    """`sum_k weights[k] metrics[k](x_hat, x)`: a loss of several parts where one metric is asked for.

    Raises:
        ValueError: no metrics, another number of weights, or a negative weight.
    """

    metrics: tuple[Metric, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.metrics or len(self.metrics) != len(self.weights):
            raise ValueError(
                f"Total has {len(self.metrics)} metrics and {len(self.weights)} weights: give each metric its weight."
            )
        if min(self.weights) < 0:
            raise ValueError(f"Total.weights must be 0 or above, not {self.weights}.")

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """One number a picture."""
        parts = [weight * metric(x_hat, x) for metric, weight in zip(self.metrics, self.weights, strict=True)]
        return sum(parts[1:], parts[0])


EXAMPLES = (
    {
        "name": "metrics.total.Total",
        "metrics": ({"name": "metrics.pixel.Charbonnier"}, {"name": "metrics.colour.Colour", "window_px": 4}),
        "weights": (1.0, 0.5),
    },
)
