"""Whether a restored picture, degraded again, is what was observed."""

from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Float

from restore_jax.core import Metric
from restore_jax.degrade.downsample import Downsample
from restore_jax.metrics.psnr import Psnr


@dataclass(frozen=True)
class DownsampleConsistency:
    """`metric(A x_hat, y)` with `A` the operator of `reducer`: "LR-PSNR" with the fields as they stand.

    `y` is what was observed, the small picture; nothing is known of the true one. Any degradation with an operator that
    does not hang on chance serves as `reducer` (its key is a constant), and any metric `(x_hat, x) -> [b]` as `metric`:
    `metrics.pixel.Mse` for a loss. Best is what `metric` gives for equal pictures. With 8-bit y a perfect answer
    stays near 59 dB, the rounding of y (an error of variance 1 / 12 levels).

    Raises:
        ValueError: a reducer without an operator, a size that it does not take, or an answer and an observation whose
            sizes do not belong together.

    Reference: Lugmayr et al. 2020, "SRFlow: learning the super-resolution space with normalizing flow" (LR-PSNR).
    """

    reducer: Any = Downsample(scale=4)
    metric: Metric = Psnr()

    def __call__(self, x_hat: Float[Array, "*b h w c"], y: Float[Array, "*b p q c"]) -> Float[Array, "*b"]:
        """What `metric` says, one number a picture."""
        flat = x_hat.reshape(-1, *x_hat.shape[-3:])
        again = jax.vmap(self._reduced)(flat)
        again = again.reshape(*x_hat.shape[:-3], *again.shape[1:])
        if again.shape != y.shape:
            raise ValueError(
                f"DownsampleConsistency.reducer makes {again.shape} of x_hat, and y is {y.shape}: give the y that "
                "x_hat was restored from, and the reducer that made it."
            )
        return self.metric(again, y)

    def _reduced(self, x: Array) -> Array:
        operator = self.reducer(jax.random.key(0), x).operator
        if operator is None:
            raise ValueError(f"DownsampleConsistency.reducer has no operator: {self.reducer}.")
        return operator(x)


EXAMPLES = ({"name": "metrics.consistency.DownsampleConsistency"},)
