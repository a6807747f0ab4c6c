"""The rate is a function of images seen, whatever the batch size."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restore_jax.train.optim import AdamW, Every, Players


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


def parameters():
    return {"generator": {"w": jnp.ones(3)}, "fake": {"w": jnp.ones(2)}}


def test_every_kth_step_is_a_step_of_k_batches():
    """The parameters stand still between, and the rate is that of the images seen, whatever k."""
    optim = AdamW(rate=1e-2, warmup_images=48, final=0.1)
    sparse, plain = Every(optim, 3).transform(4, 120), optim.transform(12, 120)
    w, v = jnp.ones(2), jnp.ones(2)
    state, other = sparse.init(w), plain.init(v)
    move, move_plainly = jax.jit(sparse.update), jax.jit(plain.update)
    for step in range(30):
        grads = jnp.asarray([1.0, -0.5]) * (step % 3 == 2)  # those between are not used
        updates, state = move(grads + 7.0 * (step % 3 != 2), state, w)
        w = optax.apply_updates(w, updates)
        if step % 3 == 2:
            updates_plainly, other = move_plainly(grads, other, v)
            v = optax.apply_updates(v, updates_plainly)
        else:
            np.testing.assert_array_equal(updates, np.zeros(2))
        np.testing.assert_array_equal(w, v)
    assert (w != 1).all()


def test_players_know_nothing_of_each_other():
    """Each moves as its own optimiser moves it alone: rates, moments and the clip of its own gradient."""
    optims = {"generator": Every(AdamW(rate=1e-3), 2), "fake": AdamW(rate=4e-3, b1=0.5, clip=0.1)}
    together = Players(optims).transform(4, 400)
    alone = {name: optim.transform(4, 400) for name, optim in optims.items()}
    params, apart = parameters(), parameters()
    state, states = together.init(params), {name: alone[name].init(apart[name]) for name in alone}
    for step in range(4):
        grads = {"generator": {"w": jnp.full(3, 100.0 + step)}, "fake": {"w": jnp.full(2, 0.5 - step)}}
        updates, state = together.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for name, optimizer in alone.items():
            updates, states[name] = optimizer.update(grads[name], states[name], apart[name])
            apart[name] = optax.apply_updates(apart[name], updates)
        np.testing.assert_array_equal(params["generator"]["w"] != 1, [step > 0] * 3)
    jax.tree.map(np.testing.assert_array_equal, params, apart)


def test_players_are_those_of_the_method():
    optimizer = Players({"generator": AdamW(), "discriminator": AdamW()}).transform(4, 400)
    with pytest.raises(ValueError, match=r"the players of the method, \['fake', 'generator'\], not \['discriminator'"):
        optimizer.init(parameters())


def test_every_zeroth_step_is_none():
    with pytest.raises(ValueError, match=r"Every\.k must be 1 or above, not 0"):
        Every(AdamW(), 0)
