"""NAFNet against a plain implementation with the same weights, and its promises."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.nafnet import EXAMPLES, NafBlock, NAFNet

SMALL = {"width": 4, "enc_blocks": (1, 1), "middle_blocks": 1, "dec_blocks": (1, 1)}
TINY = {"width": 4, "enc_blocks": (1,), "middle_blocks": 0, "dec_blocks": (0,)}


def randomized(params, seed=0, scale=0.3):
    """Random weights everywhere, so that nothing hides behind a zero start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.standard_normal(leaf.shape), leaf.dtype), params)


def init(net, key, *inputs, **named):
    """Shapes and types of the parameters, which is all that `randomized` wants."""
    return jax.eval_shape(net.init, key, *inputs, **named)


def apply(net, params, *inputs, **named):
    return jax.jit(net.apply)(params, *inputs, **named)


def initial(net, key, x):
    return jax.jit(lambda x: net.init_with_output(key, x)[0])(x)


def draw(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def plain_conv(p, x, groups=1, strides=1):
    """`nn.Conv` with the weights `p`, whatever shape its kernel was stored in."""
    kernel = p["kernel"]
    if kernel.ndim == 2:
        side = strides
        kernel = kernel.reshape(side, side, -1, kernel.shape[-1])
    module = nn.Conv(
        kernel.shape[-1],
        kernel.shape[:2],
        strides=strides,
        feature_group_count=groups,
        use_bias="bias" in p,
        param_dtype=x.dtype,
    )
    return module.apply({"params": {**p, "kernel": kernel}}, x)


def plain_block(p, x):
    def norm(p, x):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-6) * p["scale"][None, None, None] + p["bias"][None, None, None]

    def gate(y):
        a, b = jnp.split(y, 2, -1)
        return a * b

    y = plain_conv(p["conv1"], norm(p["norm1"], x))
    y = gate(plain_conv(p["conv2"], y, groups=y.shape[-1]))
    if "attention" in p:
        y = y * plain_conv(p["attention"], jnp.mean(y, (1, 2), keepdims=True))
    x = x + p["beta"][None, None, None] * plain_conv(p["conv3"], y)
    y = gate(plain_conv(p["conv4"], norm(p["norm2"], x)))
    return x + p["gamma"][None, None, None] * plain_conv(p["conv5"], y)


def plain_net(net, p, x):
    def blocks(h, n, name):
        for i in range(n):
            h = plain_block(p[f"{name}_{i}"], h)
        return h

    h, skips = plain_conv(p["intro"], x), []
    for level, n in enumerate(net.enc_blocks):
        h = blocks(h, n, f"enc{level}")
        skips.append(h)
        h = plain_conv(p[f"down{level}"], h, strides=2)
    h = blocks(h, net.middle_blocks, "middle")
    for level, n in zip(reversed(range(len(skips))), net.dec_blocks):
        h = plain_conv(p[f"up{level}"], h)
        b, height, width, c = h.shape
        cells = h.reshape(b, height, width, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
        h = blocks(cells.reshape(b, 2 * height, 2 * width, c // 4) + skips[level], n, f"dec{level}")
    return x + plain_conv(p["ending"], h)


@pytest.mark.parametrize("attention", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_net_and_its_gradients_are_those_of_the_plain_one(attention, key):
    with jax.enable_x64(True):
        net, x = NAFNet(**SMALL, attention=attention), draw((2, 12, 8, 3))
        params = randomized(init(net, key, x)["params"])
        g = draw(x.shape, 1)

        def value_and_gradients(f):
            def both(p, x):
                y, pull = jax.vjp(f, p, x)
                return y, pull(g)

            return jax.jit(both)(params, x)

        y, ours = value_and_gradients(lambda p, x: net.apply({"params": p}, x))
        y_plain, theirs = value_and_gradients(lambda p, x: plain_net(net, p, x))
        np.testing.assert_allclose(y, y_plain, rtol=1e-10, atol=1e-10)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * float(jnp.abs(b).max()))


def test_a_fresh_net_is_the_identity_and_a_fresh_block_too(key):
    x = draw((1, 7, 9, 3))
    np.testing.assert_array_equal(initial(NAFNet(**TINY), key, x), x)
    np.testing.assert_array_equal(initial(NAFNet(**TINY, residual=False), key, x), 0 * x)
    np.testing.assert_array_equal(initial(NafBlock(), key, x[..., :2]), x[..., :2])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 53), (8, 8)])
def test_any_size(size, key):
    x = draw((1, *size, 3))
    net = NAFNet(**TINY)
    params = randomized(init(net, key, x))
    y = apply(net, params, x)
    assert y.shape == x.shape
    assert bool(jnp.isfinite(y).all())
    padded = jnp.pad(x, ((0, 0), (0, -size[0] % net.factor), (0, -size[1] % net.factor), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(y, apply(net, params, padded)[:, : size[0], : size[1]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "levels",
    [
        {"enc_blocks": (1,), "middle_blocks": 1, "dec_blocks": (1,)},
        {"enc_blocks": (1, 1), "middle_blocks": 1, "dec_blocks": (0, 2)},
        {"enc_blocks": (), "middle_blocks": 2, "dec_blocks": ()},
    ],
)
def test_without_attention_a_pixel_sees_exactly_its_receptive_radius(levels, key):
    net = NAFNet(width=4, attention=False, **levels)
    radius, factor = net.receptive_px, net.factor
    side = factor * -(-(2 * radius + 2 * factor) // factor)
    with jax.enable_x64(True):
        x = draw((1, side, factor, 3))
        params = randomized(init(net, key, x), scale=0.5)
        restore = jax.jit(net.apply)
        y, reach = restore(params, x), 0
        for row in range(radius, radius + factor):
            touched = restore(params, x.at[0, row, 0].add(1.0)) != y
            seen = np.flatnonzero(np.asarray(touched).any((0, 2, 3)))
            reach = max(reach, row - seen.min(), seen.max() - row)
    assert reach == radius


def test_tiles_that_overlap_by_the_receptive_radius_compute_the_same(key):
    net = NAFNet(width=4, enc_blocks=(1,), dec_blocks=(1,), attention=False)
    halo = net.factor * -(-net.receptive_px // net.factor)
    with jax.enable_x64(True):
        x = draw((1, 6 * halo, 8, 3))
        params = randomized(init(net, key, x))
        tile = apply(net, params, x[:, halo : 5 * halo])[:, halo:-halo]
        np.testing.assert_allclose(tile, apply(net, params, x)[:, 2 * halo : 4 * halo], rtol=1e-12, atol=1e-12)


def test_parameter_counts_are_the_papers(key):
    def count(net, channels=3):
        shapes = jax.eval_shape(net.init, key, jnp.zeros((1, 16, 16, channels)))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    for c in (8, 32):
        assert count(NafBlock(), c) == 7 * c * c + 33 * c
        assert count(NafBlock(attention=False), c) == 6 * c * c + 32 * c
    # Chen et al. 2022: 17.1 M for deblurring (GoPro), 29.16 M for denoising (SIDD), both at width 32.
    assert round(count(NAFNet()) / 1e6, 1) == 17.1
    sidd = NAFNet(enc_blocks=(2, 2, 4, 8), middle_blocks=12, dec_blocks=(2, 2, 2, 2))
    assert round(count(sidd) / 1e6, 2) == 29.16


def test_noise_level_is_heard_only_with_an_embedding(key):
    x = draw((2, 8, 8, 3))
    deaf, net = NAFNet(**TINY), NAFNet(**TINY, embed=8)
    quiet, loud = jnp.array([0.1, 0.1]), jnp.array([0.1, 1.0])
    params = randomized(init(deaf, key, x))
    np.testing.assert_array_equal(apply(deaf, params, x, quiet), apply(deaf, params, x, loud))
    params = randomized(init(net, key, x, quiet))
    a, b = apply(net, params, x, quiet), apply(net, params, x, loud)
    np.testing.assert_array_equal(a[0], b[0])
    assert not np.allclose(a[1], b[1])
    two = jnp.stack([quiet, loud], -1)
    assert net.init_with_output(key, x, two)[0].shape == x.shape
    with pytest.raises(ValueError, match="c_noise"):
        apply(net, params, x)


def test_condition_is_seen_and_channels_may_differ(key):
    x, cond = (draw((1, 8, 8, c), c) for c in (3, 5))
    net = NAFNet(**TINY, out_channels=6)
    params = randomized(init(net, key, x, cond=cond))
    y = apply(net, params, x, cond=cond)
    assert y.shape == (1, 8, 8, 6)
    assert not np.allclose(y, apply(net, params, x, cond=2 * cond))


def test_levels_that_do_not_match_are_refused(key):
    with pytest.raises(ValueError, match="one count a level"):
        NAFNet(enc_blocks=(1, 1), dec_blocks=(1,)).init(key, jnp.zeros((1, 8, 8, 3)))


def test_bfloat16_computes_and_returns_the_type_of_x(key):
    x = draw((1, 16, 16, 3))
    net, half = NAFNet(**TINY), NAFNet(**TINY, dtype=jnp.bfloat16)
    params = randomized(init(net, key, x), scale=0.2)
    y = apply(half, params, x)
    assert y.dtype == jnp.float32
    exact = apply(net, params, x)
    assert float(jnp.abs(y - exact).max()) < 0.05 * float(jnp.abs(exact).max())
    assert apply(half, params, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_forward_mode_runs_through_the_net(key):
    with jax.enable_x64(True):
        net, x, v = NAFNet(**TINY, embed=8), draw((1, 8, 8, 3)), draw((1, 8, 8, 3), 1)
        t = jnp.array([0.3])
        params = randomized(init(net, key, x, t))
        restore = jax.jit(lambda x, t: net.apply(params, x, t))
        _, tangent = jax.jvp(restore, (x, t), (v, jnp.ones(1)))
        e = 1e-6
        difference = (restore(x + e * v, t + e) - restore(x - e * v, t - e)) / (2 * e)
        np.testing.assert_allclose(tangent, difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", EXAMPLES)
def test_examples_run(spec, key):
    net = NAFNet(**{field: value for field, value in spec.items() if field != "name"})
    x = jnp.zeros((2, 6, 5, 3))
    y = jax.eval_shape(lambda: net.init_with_output(key, x, jnp.zeros(2))[0])
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
