"""Optimisers, their rates counted in images, so that a change of batch size changes no schedule."""

from dataclasses import dataclass

import optax


@dataclass(frozen=True)
class AdamW:
    """AdamW behind a clip of the gradient's global norm, with warm-up and cosine decay to `final` times the rate.

    Reference: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    rate: float = 2e-4
    warmup_images: int = 0
    final: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0

    def schedule(self, batch_size: int, total_images: int) -> optax.Schedule:
        """The rate of each step."""
        steps = max(1, total_images // batch_size)
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup_images else self.rate,
            peak_value=self.rate,
            warmup_steps=min(self.warmup_images // batch_size, steps - 1),
            decay_steps=steps,
            end_value=self.rate * self.final,
        )

    def transform(self, batch_size: int, total_images: int) -> optax.GradientTransformation:
        """The optimiser for a run of `total_images`."""
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.adamw(
                self.schedule(batch_size, total_images),
                b1=self.b1,
                b2=self.b2,
                weight_decay=self.weight_decay,
            ),
        )


EXAMPLES = ({"name": "train.optim.AdamW", "warmup_images": 100},)
