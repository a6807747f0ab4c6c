"""Clips: what is the same in all frames, what is not, and that each frame is what the picture's degradation makes."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build, examples
from restore_jax.core import Observation, Operator
from restore_jax.degrade.blur import GaussianBlur
from restore_jax.degrade.chain import Chain
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.linear import Identity, Separable
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.noise import Gaussian, PoissonGaussian
from restore_jax.degrade.video import Frames, Pixelwise, Video

T = 5
EPS = 1.2e-7


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(T, 8, 12, 3)), jnp.float32)


def test_fixed_is_the_same_in_all_frames(key, x):
    obs = Video(step=RandomPixels(keep=0.5), parameters="fixed")(key, x)
    seen = np.asarray(obs.y) != 0
    assert (seen == seen[:1]).all()
    assert 0 < seen.mean() < 1
    assert obs.operator.shared
    np.testing.assert_array_equal(obs.operator(x), obs.y)


def test_fixed_noise_is_not_called_white(key, x):
    obs = Video(step=Gaussian(std=0.1), parameters="fixed")(key, x)
    noise = np.asarray(obs.y - x)
    np.testing.assert_allclose(noise, np.broadcast_to(noise[:1], noise.shape), rtol=0, atol=2 * EPS)
    assert obs.operator is None
    assert obs.noise_std is None


def test_redrawn_is_another_in_each_frame(key):
    """Strength and noise: products of neighbours in time have mean 0 +- 1 / sqrt(m), m = 3 64^2; 5 standard errors."""
    obs = Video(step=Gaussian(std=(0.1, 0.9)), parameters="redrawn")(key, jnp.zeros((4, 64, 64, 1)))
    assert obs.noise_std.shape == (4, 1, 1, 1)
    assert len(set(np.asarray(obs.noise_std).ravel())) == 4
    noise = np.asarray(obs.y / obs.noise_std)
    assert abs(np.mean(noise[1:] * noise[:-1])) < 5 / np.sqrt(3 * 64 * 64)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)


def test_drift_goes_from_one_draw_straight_to_another(key, x):
    """On a still clip second differences in time vanish, to roundings of numbers below 1, and first ones do not."""
    still = jnp.tile(x[:1], (T, 1, 1, 1))
    obs = Video(step=GaussianBlur(std=(0.2, 2.0)), parameters="drifting")(key, still)
    np.testing.assert_allclose(np.diff(obs.y, 2, axis=0), 0.0, atol=8 * EPS)
    assert np.abs(obs.y[-1] - obs.y[0]).max() > 0.01
    np.testing.assert_allclose(obs.operator(still), obs.y, rtol=0, atol=24 * EPS)


def test_a_clip_of_one_frame_drifts_nowhere(key, x):
    drift = Video(step=RandomPixels(keep=0.5), parameters="drifting")(key, x[:1])
    np.testing.assert_array_equal(drift.y, RandomPixels(keep=0.5)(jax.random.split(key)[0], x[0]).y[None])


def test_pixelwise_noise_has_one_strength_and_is_fresh(key):
    """As of "redrawn", with one `noise_std` for all."""
    obs = Pixelwise(step=Gaussian(std=(0.1, 0.9)))(key, jnp.zeros((4, 64, 64, 1)))
    assert obs.noise_std.shape == ()
    noise = np.asarray(obs.y / obs.noise_std)
    assert abs(np.mean(noise[1:] * noise[:-1])) < 5 / np.sqrt(3 * 64 * 64)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)


@pytest.mark.parametrize("lifted", [Video(step=PoissonGaussian(), parameters="redrawn"), Pixelwise(PoissonGaussian())])
def test_noise_of_each_pixel_keeps_its_shape(x, lifted):
    assert jax.eval_shape(lifted, jax.random.key(0), x).noise_std.shape == x.shape


def test_lifted_steps_chain(key, x):
    """Holes that stay, under noise that does not: one operator for all frames, in closed form, and the noise known."""
    holes, noise = Video(step=RandomPixels(keep=0.5)), Video(step=Gaussian(std=0.1), parameters="redrawn")
    obs = Chain(steps=(holes, noise))(key, x)
    assert isinstance(obs.operator, Frames)
    assert obs.operator.shared
    residual = np.asarray((obs.y - obs.operator(x)) / obs.noise_std)
    assert abs(residual.var() - 1) < 5 * np.sqrt(2 / residual.size)


# The operator


def test_frames_are_one_operator_a_frame(x):
    """Forward, adjoint and solve agree with those of the frames, one by one; both are the same sums of n = 12 terms."""
    rng = np.random.default_rng(1)
    rows, cols = (jnp.asarray(rng.normal(size=(T, p, n)) / n, jnp.float32) for p, n in ((4, 8), (6, 12)))
    frames = Frames(in_shape=x.shape, frame=Separable(in_shape=x.shape[1:], rows=rows, cols=cols))
    y = frames(x)
    assert y.shape == (T, 4, 6, 3)
    reg = jnp.linspace(0.1, 0.5, T).reshape(T, 1, 1, 1)
    for t in (0, T - 1):
        one = Separable(in_shape=x.shape[1:], rows=rows[t], cols=cols[t])
        np.testing.assert_allclose(y[t], one(x[t]), rtol=0, atol=24 * EPS)
        np.testing.assert_allclose(frames.adjoint(y)[t], one.adjoint(y[t]), rtol=0, atol=24 * EPS)
        np.testing.assert_allclose(frames.solve(y, reg)[t], one.solve(y[t], reg[t, 0, 0, 0]), rtol=0, atol=100 * EPS)


def test_one_reg_a_frame_keeps_the_closed_form(x, monkeypatch):
    """Conjugate gradients are never asked, but for a reg that varies in the picture."""

    def refuse(*_):
        raise AssertionError("conjugate gradients")

    monkeypatch.setattr(Operator, "solve", refuse)
    video = Video(step=Chain(steps=(GaussianBlur(std=(0.5, 1.0)), Gaussian(std=0.1))), parameters="redrawn")
    obs = jax.eval_shape(video, jax.random.key(0), x)
    solve = lambda operator, r, reg: operator.solve(r, reg)
    jax.eval_shape(solve, obs.operator, obs.y, obs.noise_std)
    jax.eval_shape(solve, obs.operator, obs.y, 0.1)
    with pytest.raises(AssertionError, match="conjugate"):
        jax.eval_shape(solve, obs.operator, obs.y, obs.y)


@pytest.mark.parametrize("parameters", ["fixed", "drifting", "redrawn"])
def test_identity_stays_identity(key, x, parameters):
    """Of a step that harms nothing, so that chains keep the closed forms beside it."""

    def clean(key, x):
        return Observation(y=x, operator=Identity(in_shape=x.shape))

    obs = jax.eval_shape(Video(step=clean, parameters=parameters), key, x)
    assert obs.operator == Identity(in_shape=x.shape)


# Every member


def takes_pictures(spec):
    return not hasattr(importlib.import_module(f"restore_jax.{spec['name'].rpartition('.')[0]}"), "EXAMPLE_SHAPE")


@pytest.mark.parametrize("parameters", ["drifting", "redrawn"])  # the first makes both its ends as "fixed" does
def test_every_member_lifts(x, parameters):
    """One of each kind, to shapes and dtypes that follow from those of a picture."""
    kinds = {spec["name"]: spec for spec in examples("restore_jax.degrade") if takes_pictures(spec)}
    for spec in kinds.values():
        one = jax.eval_shape(build(spec), jax.random.key(0), x[0])
        obs = jax.eval_shape(Video(step=build(spec), parameters=parameters), jax.random.key(0), x)
        assert obs.y.shape == (T, *one.y.shape), spec
        known = one.operator is not None and (one.noise_std is None or parameters == "redrawn")
        assert (obs.operator is not None) == known, spec
        assert {leaf.dtype for leaf in jax.tree.leaves(obs)} == {x.dtype}, spec


# Errors


def test_words_are_known():
    with pytest.raises(ValueError, match=r"Video\.parameters must be one of .*'redrawn'.*, not 'often'"):
        Video(step=Gaussian(), parameters="often")


@pytest.mark.parametrize("lifted", [Video(step=Gaussian()), Pixelwise(step=Gaussian())])
def test_a_picture_is_no_clip(key, x, lifted):
    with pytest.raises(ValueError, match=r"takes a clip `t h w c`, not an array of shape \(8, 12, 3\)"):
        lifted(key, x[0])


def test_pixelwise_steps_keep_the_size(key, x):
    with pytest.raises(ValueError, match=r"Pixelwise\.step makes \(20, 6, 3\) of a picture \(40, 12, 3\)"):
        Pixelwise(step=Downsample(scale=2))(key, x)
