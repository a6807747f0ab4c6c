"""Averages against sums by hand; averages made afterwards against those that were kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import TrainState
from restore_jax.train.ema import (
    WIDEST,
    Average,
    Constant,
    HalfLife,
    Power,
    Snapshots,
    follow,
    follow_tracks,
    inner,
    post_hoc,
    reconstruct,
)

ULP = np.finfo(np.float32).eps
STEPS = 400
rates = pytest.mark.parametrize("average", [HalfLife(64), Constant(0.9), Power(0.05)], ids=str)


def walk(n=STEPS, leaves=4) -> np.ndarray:
    """Parameters that wander and calm down, as they do under a falling rate."""
    steps = np.random.default_rng(0).normal(size=(n, leaves)) / np.sqrt(1 + np.arange(n))[:, None]
    return np.cumsum(steps, axis=0)


def weights_of(std: float, t: int) -> np.ndarray:
    """What Power gives to each of the t steps: the integral of its density over the step, in float64."""
    ends = (np.arange(t + 1) / t) ** (Power(std).gamma + 1)
    return np.diff(ends)


# ------------------------------------------------------------------------------- along the run


@rates
def test_an_average_is_the_sum_of_what_was_with_weights_that_add_up_to_one(average):
    assert isinstance(average, Average)
    betas = np.asarray([float(average.decay(jnp.int32(k), 8)) for k in range(40)])
    assert (betas >= 0).all()
    assert (betas < 1).all()
    path, found = walk(40), {"w": jnp.zeros(4)}
    for k in range(40):
        found = follow(found, {"w": jnp.asarray(path[k], jnp.float32)}, jnp.float32(betas[k]))
    left = np.cumprod(np.append(betas, 1.0)[::-1])[::-1][1:]  # of step k at the end
    weights = (1 - betas) * left
    assert weights.sum() + np.prod(betas) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(found["w"], weights @ path, atol=40 * ULP * np.abs(path).max())


def test_a_half_life_is_in_images():
    for batch in (4, 16):
        left = np.prod([float(HalfLife(160).decay(jnp.int32(10**6 + k), batch)) for k in range(160 // batch)])
        assert left == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("std", [0.01, 0.05, 0.1, 0.25, 0.2886])
def test_gamma_is_the_root_and_the_window_has_the_deviation(std):
    """The equation of EDM2; the mean and deviation of tau^gamma on [0, 1], by quadrature."""
    gamma = Power(std).gamma
    assert gamma > 0
    assert np.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2) == pytest.approx(std, rel=1e-9)
    tau = (np.arange(400_000) + 0.5) / 400_000
    density = (gamma + 1) * tau**gamma / tau.size
    mean = density @ tau
    assert np.sqrt(density @ (tau - mean) ** 2) == pytest.approx(std, rel=1e-5)


def test_the_widest_window_is_the_plain_mean():
    """gamma = 0: beta = 1 - 1 / t."""
    nearly = Power(WIDEST * (1 - 1e-9))
    assert nearly.gamma == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(nearly.decay(jnp.int32(9), 1), 0.9, rtol=1e-4)


def test_power_weighs_steps_by_their_share_of_the_density():
    betas = np.asarray([float(Power(0.1).decay(jnp.int32(k), 1)) for k in range(50)])
    assert betas[0] == 0  # what the run starts from is forgotten
    found = (1 - betas) * np.cumprod(np.append(betas, 1.0)[::-1])[::-1][1:]
    np.testing.assert_allclose(found, weights_of(0.1, 50), atol=50 * ULP)


# ------------------------------------------------------------------------------- afterwards


def test_inner_products_are_integrals():
    grid = (np.arange(400_000) + 0.5) / 400_000 * 10
    for t_a, gamma_a, t_b, gamma_b in ((10.0, 3.0, 10.0, 3.0), (4.0, 2.0, 10.0, 6.0), (7.0, 9.0, 3.0, 0.5)):
        density = lambda t, gamma: np.where(grid <= t, (gamma + 1) * grid**gamma / t ** (gamma + 1), 0.0)
        integral = np.sum(density(t_a, gamma_a) * density(t_b, gamma_b)) * 10 / grid.size
        assert inner(t_a, gamma_a, t_b, gamma_b) == pytest.approx(integral, rel=1e-4)
        assert inner(t_b, gamma_b, t_a, gamma_a) == inner(t_a, gamma_a, t_b, gamma_b)


EVERY = range(25, STEPS + 1, 25)
TAKEN, WIDTHS = [t for t in EVERY for _ in range(2)], [0.05, 0.1] * len(EVERY)


@pytest.mark.parametrize("std", [0.04, 0.07, 0.15, 0.2])
def test_an_average_made_afterwards_is_the_one_that_was_not_kept(std):
    """16 snapshots of two widths: the weights on steps are nearly those wanted, and so is the average.

    In exact numbers, so that what is left is the distance of the average wanted from the span of those kept: 0.4 to
    2.3 per cent of its weights, and 0.02 to 0.4 per cent of the walk's deviation; the last parameters themselves are
    10 to 26 per cent off, and a window twice as wide 7 to 35.
    """
    path = walk()
    kept = np.stack([np.pad(weights_of(width, t), (0, STEPS - t)) for t, width in zip(TAKEN, WIDTHS)])
    made = reconstruct(TAKEN, WIDTHS, STEPS, std) @ kept
    wanted = weights_of(std, STEPS)
    assert np.linalg.norm(made - wanted) < 0.03 * np.linalg.norm(wanted)
    assert np.abs((made - wanted) @ path).max() < 0.005 * path.std()
    wrong = reconstruct(TAKEN, WIDTHS, STEPS, min(2 * std, 0.28)) @ kept
    assert np.abs((wrong - wanted) @ path).max() > 0.05 * path.std()


def test_no_mixture_is_nearer():
    """Least squares on the densities: moving any weight either way makes the distance larger."""
    steps, stds = [50, 50, 100, 100], [0.05, 0.1, 0.05, 0.1]
    gamma = np.asarray([Power(std).gamma for std in stds])
    gram = inner(np.asarray(steps)[:, None], gamma[:, None], np.asarray(steps)[None], gamma[None])
    wanted = inner(np.asarray(steps), gamma, 100, Power(0.07).gamma)
    best = reconstruct(steps, stds, 100, 0.07)
    np.testing.assert_allclose(gram @ best, wanted, rtol=1e-8)
    distance = lambda w: w @ gram @ w - 2 * w @ wanted
    for move in 1e-3 * np.concatenate([np.eye(4), -np.eye(4)]):
        assert distance(best + move) > distance(best)


def test_a_snapshot_itself_is_given_back():
    weights = reconstruct([40, 40, 80, 80], [0.05, 0.1, 0.05, 0.1], 80, 0.1)
    np.testing.assert_allclose(weights, [0, 0, 0, 1], atol=1e-8)
    np.testing.assert_allclose(reconstruct([40], [0.05], 40, 0.05), [1.0], rtol=1e-12)


def test_a_run_s_snapshots_make_its_averages(tmp_path):
    """Tracks followed as the step does, written, read back: against Power kept all along."""
    path, snapshots = walk(64), Snapshots(8, (0.05, 0.1))
    tree = lambda k: {"a": {"w": jnp.asarray(path[k, :2], jnp.float32)}, "b": jnp.asarray(path[k, 2:], jnp.float32)}
    state = snapshots.begin(TrainState(jnp.int32(0), tree(0), tree(0), (), None))
    directly = tree(0)

    @jax.jit
    def step(state, directly, params):
        aux = follow_tracks(state.aux, state.step, params)
        directly = follow(directly, params, Power(0.08).decay(state.step, 1))
        return state.replace(step=state.step + 1, aux=aux), directly

    for k in range(64):
        state, directly = step(state, directly, tree(k))
        if (k + 1) % 8 == 0:
            snapshots.write(tmp_path, state)
    assert sorted(path.name for path in (tmp_path / "ema").iterdir()) == sorted(f"{k}.npz" for k in range(8, 65, 8))
    made = post_hoc(tmp_path, 0.08)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.005 * path.std()), made, directly)
    kept = post_hoc(tmp_path, 0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, state.aux["ema_tracks"]["0.1"])
    early = post_hoc(tmp_path, 0.05, 16)  # the average as it was then
    assert np.abs(early["b"] - np.asarray(state.aux["ema_tracks"]["0.05"]["b"])).max() > 1e-2
    assert early["b"].dtype == jnp.float32


def test_without_tracks_nothing_is_followed():
    assert follow_tracks({"other": 1}, jnp.int32(0), {}) == {"other": 1}


# ------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HalfLife(0), "HalfLife.images must be above 0"),
        (lambda: Constant(1.0), r"Constant.beta must be in \[0, 1\), not 1.0"),
        (lambda: Power(0.3), r"Power.std must be above 0 and below 1 / sqrt\(12\) = 0.2887, not 0.3"),
        (lambda: Snapshots(0), "Snapshots.every_images must be above 0"),
        (lambda: Snapshots(8, (0.1, 0.1)), "no two alike"),
        (lambda: Snapshots(8, (0.1, 0.5)), "Power.std"),
        (lambda: reconstruct([8], [0.1, 0.2], 8, 0.1), "as many steps as stds"),
        (lambda: reconstruct([9], [0.1], 8, 0.1), "knows nothing of the snapshot at step 9"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_without_snapshots_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no snapshots: train with config\.snapshots"):
        post_hoc(tmp_path, 0.1)
