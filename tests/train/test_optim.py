"""The rate is a function of images seen, whatever the batch size."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from restore_jax.train.optim import AdamW, Constant, Cosine, Decay, Every, Linear, Players, Restarts, Steps, rates


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


IMAGES = jnp.asarray([0.0, 250.0, 500.0, 750.0, 1000.0])


@pytest.mark.parametrize(
    ("decay", "factors"),
    [
        (Constant(), [1, 1, 1, 1, 1]),
        (Linear(final=0.2), [1, 0.8, 0.6, 0.4, 0.2]),
        (Linear(hold_images=500), [1, 1, 1, 0.5, 0]),
        (Cosine(), [1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2, 0]),
        (Cosine(final=0.5), [1, (3 + 2**-0.5) / 4, 0.75, (3 - 2**-0.5) / 4, 0.5]),
        (Steps(at_images=(250, 750), by=0.5), [1, 0.5, 0.5, 0.25, 0.25]),
        (Restarts(periods_images=(500, 500), weights=(1.0, 0.5)), [1, 0.5, 0.5, 0.25, 0]),
        (Restarts(periods_images=(250,), final=0.1), [1, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_what_is_left_of_the_rate(decay, factors):
    """Closed forms at quarters of a run of 1000; float32 rounds cos near 0 by 1e-7."""
    assert isinstance(decay, Decay)
    np.testing.assert_allclose(decay.factor(IMAGES, 1000), factors, atol=2e-7)


def test_a_decay_under_a_warm_up():
    optim = AdamW(rate=1e-3, warmup_images=100, decay=Steps(at_images=(50, 400)))
    schedule = optim.schedule(10, 1000)
    np.testing.assert_allclose([schedule(k) for k in (0, 4, 5, 10, 40)], [0, 4e-4, 2.5e-4, 5e-4, 2.5e-4], rtol=1e-6)
    params = jnp.zeros(2)
    optimizer = optim.transform(10, 1000)
    jax.jit(optimizer.update)(jnp.ones(2), optimizer.init(params), params)


def test_the_cosine_spec_is_the_cosine_that_is_there_without_one():
    one, other = AdamW(rate=1e-3, final=0.1), AdamW(rate=1e-3, decay=Cosine(final=0.1))
    for step in (0, 3, 50, 100):
        np.testing.assert_allclose(one.schedule(10, 1000)(step), other.schedule(10, 1000)(step), rtol=1e-5)


def test_the_rates_that_are_logged_are_those_that_move():
    """Every second step of a linear decay, 20 images each: the rate of the move that comes."""
    linear = AdamW(rate=1.0, decay=Linear())
    said = rates(Players({"generator": Every(linear, 2), "fake": linear}), 10, 100)
    assert set(said) == {"rate_generator", "rate_fake"}
    np.testing.assert_allclose([said["rate_fake"](k) for k in range(4)], [1.0, 0.9, 0.8, 0.7], rtol=1e-6)
    np.testing.assert_allclose([said["rate_generator"](k) for k in range(4)], [1.0, 1.0, 0.8, 0.8], rtol=1e-6)


def test_an_optimiser_of_somebody_else_need_not_say_its_rate():
    class Plain:
        def transform(self, batch_size, total_images):
            return optax.sgd(0.1)

    assert rates(Plain(), 10, 100) == {}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Cosine(final=2.0), r"Cosine\.final must be in \[0, 1\], not 2\.0"),
        (lambda: Linear(hold_images=-1), "Linear.hold_images must be 0 or above"),
        (lambda: Steps(at_images=(5, 5)), "Steps.at_images must be one number or more, each above the last"),
        (lambda: Steps(at_images=(5,), by=-1.0), "Steps.by must be in"),
        (lambda: Restarts(periods_images=()), "Restarts.periods_images must be one length or more"),
        (lambda: Restarts(periods_images=(5, 5), weights=(1.0,)), "Restarts.weights must be one a period, 2, or none"),
        (lambda: AdamW(rate=-1.0), "AdamW.rate and warmup_images must be 0 or above"),
        (lambda: AdamW(final=0.1, decay=Constant()), "AdamW.final must be 0 beside AdamW.decay, not 0.1"),
    ],
)
def test_mistakes_of_schedules_are_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()
