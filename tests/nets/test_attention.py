"""Attention against its plain forms, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets import attention
from restore_jax.nets.attention import (
    PART,
    ChannelAttention,
    FullAttention,
    TransposedAttention,
    WindowAttention,
    attend,
    channel_weights,
    from_windows,
    full_attention,
    gelu,
    leaving,
    named,
    picture_mean,
    relative_positions,
    to_windows,
    window_parts,
)

# Of order one are the numbers, some hundred of them summed in another order, and five such sums one after the other:
# 5 sqrt(100) roundings of 6e-8, and a margin for gradients, which add up some numbers more. A wrong index is O(1).
CLOSE = {"rtol": 0, "atol": 2e-5}


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def randomized(module, x, seed=1):
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape) / max(1, len(a.shape)), jnp.float32), shapes)


def agree(ours, plain, *inputs):
    """The same values, and the same gradients in every input, of a sum that weighs all numbers differently."""
    weights = draw(*jax.eval_shape(plain, *inputs).shape, seed=9)

    def value_and_grad(f):
        loss = lambda *inputs: (jnp.sum(f(*inputs) * weights) / weights.size**0.5, f(*inputs))
        return jax.jit(jax.grad(loss, tuple(range(len(inputs))), has_aux=True))(*inputs)

    for a, b in zip(jax.tree.leaves(value_and_grad(ours)), jax.tree.leaves(value_and_grad(plain)), strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, **CLOSE)


def dense(p, x):
    out = jnp.tensordot(x, p["kernel"], 1)
    return out + p["bias"].reshape((1,) * (x.ndim - 1) + (-1,)) if "bias" in p else out


def test_gelu_is_the_exact_one():
    x = jnp.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu(x), jax.nn.gelu(x, approximate=False), rtol=0, atol=5e-7)
    np.testing.assert_allclose(gelu(jnp.float32(1.0)), 0.8413447, rtol=1e-6)  # Phi(1)


def test_in_a_file_gelu_has_a_name_and_a_mean_is_of_means():
    x = draw(2, 12, 14, 3)
    with leaving(), named():
        jaxpr = jax.make_jaxpr(lambda x: gelu(picture_mean(x)))(x)
        by_name, mean = gelu(x), picture_mean(x)
        assert picture_mean(draw(1, 37, 41, 2)).shape == (1, 1, 1, 2)  # primes, that have no parts
    assert [e.params["name"] for e in jaxpr.eqns if e.primitive.name == "composite"] == ["aten.gelu.default"]
    sums = [e.invars[0].aval.shape[e.params["axes"][0]] for e in jaxpr.eqns if e.primitive.name == "reduce_sum"]
    assert max(sums) <= PART
    assert np.prod(sums) == 12 * 14
    np.testing.assert_array_equal(by_name, gelu(x))
    np.testing.assert_allclose(mean, picture_mean(x), rtol=0, atol=1e-6)
    assert mean.shape == picture_mean(x).shape == (2, 1, 1, 3)


def test_channel_attention_weighs_channels_by_their_means():
    x = draw(2, 3, 4, 8)
    module = ChannelAttention(4)
    p = randomized(module, x)
    assert p["down"]["kernel"].shape == (8, 2)

    def plain(p, x):
        hidden = jnp.maximum(dense(p["down"], x.mean((1, 2))), 0)
        return x / (1 + jnp.exp(-dense(p["up"], hidden)))[:, None, None]

    agree(lambda p, x: module.apply({"params": p}, x), plain, p, x)


def test_channel_weights_are_softmaxes_of_cosines():
    q, k = draw(1, 50, 4), draw(1, 50, 4, seed=1)
    out = channel_weights(q, k, jnp.asarray([2.0, 0.0]))
    np.testing.assert_allclose(out.sum(-1), np.ones((1, 2, 2)), rtol=1e-6)
    np.testing.assert_allclose(out[0, 1], np.full((2, 2), 0.5), rtol=1e-6)  # temperature 0: all alike
    cosine = lambda i, j: float(q[0, :, i] @ k[0, :, j] / jnp.linalg.norm(q[0, :, i]) / jnp.linalg.norm(k[0, :, j]))
    odds = np.exp(2 * (cosine(0, 0) - cosine(0, 1)))
    np.testing.assert_allclose(out[0, 0, 0, 0] / out[0, 0, 0, 1], odds, rtol=1e-5)
    flat = jax.grad(lambda q: channel_weights(q, k, jnp.ones(2))[0, 0, 0, 0])(jnp.zeros_like(q))
    assert np.isfinite(flat).all()  # a flat picture has norm zero


@pytest.mark.parametrize("use_bias", [False, True])
def test_transposed_attention_is_the_papers(use_bias):
    x, heads = draw(2, 4, 3, 6), 2
    module = TransposedAttention(heads, use_bias)
    p = randomized(module, x)

    def plain(p, x):
        qkv = dense(p["qkv"], x)
        padded = jnp.pad(qkv, [(0, 0), (1, 1), (1, 1), (0, 0)])
        taps = [(u, v) for u in range(3) for v in range(3)]
        kernel = p["qkv_conv"]["kernel"]
        qkv = sum(padded[:, u : u + 4, v : v + 3] * kernel[u, v].reshape(1, 1, 1, -1) for u, v in taps)
        qkv = qkv + p["qkv_conv"]["bias"].reshape(1, 1, 1, -1) if use_bias else qkv
        q, k, v = (a.reshape(2, 12, heads, 3).transpose(0, 2, 3, 1) for a in jnp.split(qkv, 3, -1))
        q, k = (a / jnp.linalg.norm(a, axis=-1, keepdims=True) for a in (q, k))
        weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) * p["temperature"].reshape(1, heads, 1, 1))
        out = (weights @ v).transpose(0, 3, 1, 2).reshape(2, 4, 3, 6)
        return dense({name: p[name] for name in ("kernel", "bias") if name in p}, out)

    agree(lambda p, x: module.apply({"params": p}, x), plain, p, x)


def plain_attention(p, x, heads, bias, same):
    """All pixels at once, [b h w c]; pairs that are not the `same`, [t t], do not exist."""
    b, h, w, c = x.shape
    q, k, v = (a.reshape(b, h * w, heads, -1) for a in jnp.split(dense(p["qkv"], x), 3, -1))
    scores = jnp.einsum("bihd,bjhd->bhij", q, k) / (c // heads) ** 0.5 + bias[None]
    weights = jax.nn.softmax(jnp.where(same[None, None], scores, -jnp.inf))
    return dense(p["out"], jnp.einsum("bhij,bjhd->bihd", weights, v).reshape(b, h, w, c))


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_window_attention_is_attention_among_the_pixels_of_a_window(shift):
    h, w, window, heads = 8, 4, 4, 2
    x = draw(2, h, w, 4)
    module = WindowAttention(heads, window, shift)
    p = randomized(module, x)
    place = np.stack(np.divmod(np.arange(h * w), w), -1)
    of = (place - shift) // window  # the window of a pixel: the picture's border cuts the first and the last
    same = (of[:, None] == of[None]).all(-1)
    away = np.clip(place[:, None] - place[None], 1 - window, window - 1) + window - 1
    index = away[..., 0] * (2 * window - 1) + away[..., 1]

    def plain(p, x):
        return plain_attention(p, x, heads, jnp.moveaxis(p["table"][index], -1, 0), same)

    agree(lambda p, x: module.apply({"params": p}, x), plain, p, x)


def test_full_attention_is_attention_among_all_pixels():
    x, heads = draw(2, 3, 4, 4), 2
    module = FullAttention(heads)
    p = randomized(module, x)
    all_pairs = jnp.ones((12, 12), bool)
    plain = lambda p, x: plain_attention(p, x, heads, jnp.zeros((heads, 12, 12)), all_pairs)
    agree(lambda p, x: module.apply({"params": p}, x), plain, p, x)


def test_a_few_queries_at_a_time_are_all_of_them():
    q, k, v = (draw(2, 2, 10, 3, seed=seed) for seed in range(3))
    agree(lambda q, k, v: full_attention(q, k, v, queries=4), attend, q, k, v)
    assert attention.QUERIES >= 1024  # a tile of 256 pixels with patches of 8 is one dot


def test_a_file_has_no_loop_over_queries():
    q, k, v = (draw(2, 2, 10, 3, seed=seed) for seed in range(3))
    with leaving():
        jaxpr = str(jax.make_jaxpr(lambda q, k, v: full_attention(q, k, v, queries=4))(q, k, v))
        found = full_attention(q, k, v, queries=4)
    assert "scan" not in jaxpr
    np.testing.assert_allclose(found, attend(q, k, v), rtol=0, atol=1e-6)


def test_windows_are_the_pictures_pixels_in_order():
    x = jnp.arange(2 * 4 * 6 * 2.0).reshape(2, 4, 6, 2)
    windows = to_windows(x, 2)
    assert windows.shape == (12, 4, 2)
    np.testing.assert_array_equal(windows[6 + 3 + 1], x[1, 2:4, 2:4].reshape(4, 2))
    np.testing.assert_array_equal(from_windows(windows, 2, 4, 6), x)


def test_displacements_are_told_apart_and_parts_are_of_the_border():
    index = relative_positions(3)
    assert index.shape == (9, 9)
    assert len(np.unique(index)) == 25
    assert (np.diag(index) == 12).all()  # no displacement: the middle of the table
    assert index[8, 0] == 24  # down and right, the farthest
    parts = window_parts(8, 8, 4, 2).reshape(4, 4, 4)
    assert (parts[0] == 0).all()
    np.testing.assert_array_equal(parts[3], np.repeat([[0, 2], [1, 3]], 2, 0).repeat(2, 1))


def test_bad_sizes_are_named():
    x = jnp.ones((1, 8, 8, 6))
    for module in (FullAttention(4), TransposedAttention(4), WindowAttention(4)):
        with pytest.raises(
            ValueError, match=rf"{type(module).__name__}\.heads wants a divisor of the 6 channels, got 4"
        ):
            jax.eval_shape(module.init, jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"WindowAttention\.shift is 0 to window - 1 = 3, got 4"):
        jax.eval_shape(WindowAttention(2, 4, 4).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match="window=3 divides, got 8x8"):
        to_windows(x, 3)
