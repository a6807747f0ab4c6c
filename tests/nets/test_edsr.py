"""EDSR and MSRResNet: what they are with all weights zero, nets trained on [0, 255], how a picture is enlarged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.nets.edsr import DIV2K_MEAN, EDSR, MSRResNet, bilinear, steps_reach
from restore_jax.nets.torch_weights import recognise

ULP = np.finfo(np.float32).eps


def silent(net, x):
    """The net's answer with all weights zero."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)
    return net.apply(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes), x)


def test_silent_nets_say_the_mean_and_the_picture(key):
    x = jax.random.uniform(key, (1, 3, 4, 3))
    mean = np.broadcast_to(np.float32(DIV2K_MEAN), (1, 6, 8, 3))
    np.testing.assert_array_equal(silent(EDSR(8, 1, 2), x), mean)
    np.testing.assert_array_equal(silent(MSRResNet(8, 1, 2), x), bilinear(x, 6, 8))


def test_bilinear_reads_between_pixel_centres(key):
    ramp = jnp.arange(5.0).reshape(1, 5, 1, 1)
    # Centres of the answer, in pixels of the ramp: (i + 1/2) / 2 - 1/2, held at the ends.
    np.testing.assert_allclose(
        bilinear(ramp, 10, 1).ravel(), [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4], atol=4 * ULP
    )
    x = jax.random.uniform(key, (1, 5, 3, 2))
    # jax.image.resize is the same sum by a dense matrix: a handful of roundings of numbers below 1.
    np.testing.assert_allclose(bilinear(x, 13, 8), jax.image.resize(x, (1, 13, 8, 2), "bilinear"), atol=8 * ULP)


def state_of(blocks, width, span, rng):
    """A state dict with the authors' names, x4, for pictures in [0, span]."""
    shapes = {
        "head.0": (width, 3),
        "tail.0.0": (4 * width, width),
        "tail.0.2": (4 * width, width),
        "tail.1": (3, width),
    }
    shapes |= {f"body.{i}.body.{k}": (width, width) for i in range(blocks) for k in (0, 2)}
    shapes[f"body.{blocks}"] = (width, width)
    state = {f"{n}.weight": rng.normal(size=(*s, 3, 3)).astype(np.float32) / 9 for n, s in shapes.items()}
    state |= {f"{n}.bias": rng.normal(size=s[0]).astype(np.float32) / 9 for n, s in shapes.items()}
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        state[f"{name}.weight"] = np.eye(3, dtype=np.float32)[:, :, None, None]
        state[f"{name}.bias"] = np.float32(sign * span * np.array(DIV2K_MEAN))
    return state


def test_a_net_for_0_to_255_answers_a_net_for_0_to_1():
    """`head` 255 times smaller and `tail` 255 times larger make of one the other, exactly in real numbers."""
    state = state_of(1, 4, 255.0, np.random.default_rng(0))
    wide, unit = recognise(state), state_of(1, 4, 1.0, np.random.default_rng(0))
    unit["head.0.weight"] = unit["head.0.weight"] * 255
    unit["tail.1.weight"], unit["tail.1.bias"] = unit["tail.1.weight"] / 255, unit["tail.1.bias"] / 255
    one = recognise(unit)
    assert wide.net == one.net
    assert wide.net["scale"] == 4
    assert wide.net["blocks"] == 1
    assert wide.net["mean"] == DIV2K_MEAN
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=4 * ULP), wide.params, one.params)


def test_the_wide_net_scales_its_residuals():
    state = state_of(0, 256, 1.0, np.random.default_rng(0))
    assert build(recognise(state).net).res_scale == 0.1


def test_reach_of_the_enlarging_convolutions():
    assert [steps_reach(s, "scale") for s in (1, 2, 3, 4, 8)] == [0, 2, 3, 4 + 2, 8 + 4 + 2]


@pytest.mark.parametrize("net", [EDSR(8, 1, 5), MSRResNet(8, 1, 6)])
def test_unknown_scale_is_refused(net):
    with pytest.raises(ValueError, match=rf"{type(net).__name__}.scale must be one of 1, 2, 3, 4, 8; got {net.scale}"):
        net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
