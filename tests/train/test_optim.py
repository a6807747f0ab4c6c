"""The rate is a function of images seen, whatever the batch size."""

import jax.numpy as jnp
import numpy as np

from restore_jax.train.optim import AdamW


def test_the_rate_depends_on_images_not_on_steps():
    optim = AdamW(rate=1e-3, warmup_images=640, final=0.1)
    small, large = optim.schedule(16, 16_000), optim.schedule(64, 16_000)
    for images in (0, 320, 640, 6400, 16_000):
        np.testing.assert_allclose(small(images // 16), large(images // 64), rtol=1e-5)


def test_warm_up_peak_and_end():
    schedule = AdamW(rate=1e-3, warmup_images=160, final=0.1).schedule(16, 1600)
    assert float(schedule(0)) == 0.0
    np.testing.assert_allclose([schedule(10), schedule(100)], [1e-3, 1e-4], rtol=1e-6)


def test_the_gradient_is_clipped_to_the_norm():
    """Adam forgets the scale of a gradient but for its epsilon; the ratio of two unequal steps shows the clip."""
    clipped, free = AdamW(clip=1.0).transform(1, 100), AdamW(clip=1e9).transform(1, 100)
    params = jnp.zeros(2)
    for optimizer, expected in ((clipped, 1.0), (free, 100.0)):
        opt_state = optimizer.init(params)
        _, opt_state = optimizer.update(jnp.asarray([100.0, 0.0]), opt_state, params)
        mu = opt_state[1][0].mu  # (1 - b1) times the gradient that Adam saw
        np.testing.assert_allclose(mu[0], (1 - 0.9) * expected, rtol=1e-5)
