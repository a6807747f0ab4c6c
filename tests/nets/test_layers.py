"""Each fast layer against the plain one: values, every gradient, every transformation."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from restore_jax.nets import layers

SHAPES = ((2, 9, 7, 6), (1, 1, 1, 4), (3, 12, 5, 8))


@contextlib.contextmanager
def precision(bits):
    with jax.enable_x64(bits == 64):
        yield jnp.dtype(f"float{bits}")


def draw(shape, dtype, seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def plain_depthwise(x, kernel):
    c = x.shape[-1]
    module = nn.Conv(c, kernel.shape[:2], feature_group_count=c, use_bias=False, param_dtype=x.dtype)
    return module.apply({"params": {"kernel": kernel}}, x)


def plain_pointwise(x, kernel):
    module = nn.Conv(kernel.shape[1], (1, 1), use_bias=False, param_dtype=x.dtype)
    return module.apply({"params": {"kernel": kernel[None, None]}}, x)


def plain_layer_norm(x, scale, bias):
    module = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, param_dtype=x.dtype)
    return module.apply({"params": {"scale": scale, "bias": bias}}, x)


LAYERS = {
    "depthwise3": (layers.depthwise_conv, plain_depthwise, lambda c: [(3, 3, 1, c)]),
    "pointwise": (layers.pointwise_conv, plain_pointwise, lambda c: [(c, c + 3)]),
    "layer_norm": (layers.layer_norm, plain_layer_norm, lambda c: [(c,), (c,)]),
}


OTHER_SIZES = {
    "depthwise1": (layers.depthwise_conv, plain_depthwise, lambda c: [(1, 1, 1, c)]),
    "depthwise5": (layers.depthwise_conv, plain_depthwise, lambda c: [(5, 5, 1, c)]),
}


def scale_of(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def assert_same(ours, theirs, terms):
    """Two orders of summing n terms differ by at most about 2 n eps times the sum's magnitude; here
    that of the largest entry, with another factor 8 for terms that are larger than their sum."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        tolerance = 16 * terms * float(jnp.finfo(a.dtype).eps) * max(1.0, scale_of(b))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("shape", [*SHAPES[:2], pytest.param(SHAPES[2], marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", LAYERS | OTHER_SIZES)
def test_value_and_gradients_are_those_of_the_plain_layer(name, shape, bits):
    fast, plain, params = (LAYERS | OTHER_SIZES)[name]
    with precision(bits) as dtype:
        x = draw(shape, dtype, 0)
        weights = [draw(s, dtype, i + 1) for i, s in enumerate(params(shape[-1]))]
        g = draw(jax.eval_shape(plain, x, *weights).shape, dtype, 9)

        @jax.jit
        def both(x, *weights):
            pulls = [jax.vjp(f, x, *weights) for f in (fast, plain)]
            return [(y, pull(g)) for y, pull in pulls]

        (y, gradients), (y_plain, gradients_plain) = both(x, *weights)
        terms = max(25, shape[-1])
        # A pixel of small variance divides by it: the derivative of LayerNorm carries 1 / std^2.
        terms *= float(1 / x.var(-1).min()) if name == "layer_norm" else 1
        assert_same(y, y_plain, terms)
        assert_same(gradients, gradients_plain, max(terms, np.prod(shape[:-1])))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_finite_differences_in_both_directions_and_twice(name):
    fast, _, params = LAYERS[name]
    with precision(64) as dtype:
        x = draw((1, 4, 5, 4), dtype, 0)
        weights = [draw(s, dtype, i + 1) for i, s in enumerate(params(4))]
        check_grads(jax.jit(fast), (x, *weights), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("name", LAYERS)
def test_forward_mode_is_that_of_the_plain_layer(name):
    fast, plain, params = LAYERS[name]
    with precision(64) as dtype:
        x = draw((2, 6, 5, 4), dtype, 0)
        weights = [draw(s, dtype, i + 1) for i, s in enumerate(params(4))]
        primals, tangents = (x, *weights), tuple(draw(w.shape, dtype, 20 + i) for i, w in enumerate((x, *weights)))

        def along(f):  # a gradient that runs through a jvp, as in the consistency targets
            return lambda *p: jnp.square(jax.jvp(f, p, tangents)[1]).mean()

        def both_ways(f):
            return jax.jit(lambda *p: (jax.jvp(f, p, tangents), jax.grad(along(f))(*p)))(*primals)

        assert_same(both_ways(fast), both_ways(plain), 1000)


@pytest.mark.soak  # two seconds a layer: it compiles every operation by itself
@pytest.mark.parametrize("name", LAYERS)
def test_jit_is_eager(name):
    fast, _, params = LAYERS[name]
    with precision(64) as dtype:
        x = draw((2, 5, 6, 4), dtype, 0)
        weights = [draw(s, dtype, i + 1) for i, s in enumerate(params(4))]
        assert_same(jax.jit(fast)(x, *weights), fast(x, *weights), 100)
        gradient = jax.grad(lambda *a: jnp.sin(fast(*a)).sum(), argnums=(0, 1))
        assert_same(jax.jit(gradient)(x, *weights), gradient(x, *weights), 1000)


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_is_the_loop(name):
    fast, _, params = LAYERS[name]
    with precision(64) as dtype:
        xs = draw((3, 2, 5, 6, 4), dtype, 0)
        weights = [draw((3, *s), dtype, i + 1) for i, s in enumerate(params(4))]
        one = [w[0] for w in weights]

        @jax.jit
        def value_and_pull(x, *w):
            y, pull = jax.vjp(fast, x, *w)
            return y, pull(jnp.cos(y))

        def stack(results):
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

        loop = stack([value_and_pull(x, *w) for x, *w in zip(xs, *weights)])
        assert_same(jax.vmap(value_and_pull)(xs, *weights), loop, 100)
        shared = stack([value_and_pull(x, *one) for x in xs])
        assert_same(jax.vmap(lambda x: value_and_pull(x, *one))(xs), shared, 100)
        ensemble = stack([value_and_pull(xs[0], *w) for w in zip(*weights)])
        assert_same(jax.vmap(lambda *w: value_and_pull(xs[0], *w))(*weights), ensemble, 100)
        last = jax.vmap(fast, in_axes=(4, *(None for _ in one)), out_axes=4)(jnp.moveaxis(xs, 0, 4), *one)
        assert_same(jnp.moveaxis(last, 4, 0), stack([fast(x, *one) for x in xs]), 100)


@pytest.mark.parametrize("name", LAYERS)
def test_an_image_does_not_depend_on_its_neighbours(name):
    fast, _, params = LAYERS[name]
    x = draw((4, 6, 8, 4), jnp.float32, 0)
    weights = [draw(s, jnp.float32, i + 1) for i, s in enumerate(params(4))]
    batch = jax.jit(fast)(x, *weights)
    other = jax.jit(fast)(x.at[1:].multiply(7.0), *weights)
    np.testing.assert_array_equal(batch[0], other[0])
    assert_same(batch[:1], jax.jit(fast)(x[:1], *weights), 25)


@pytest.mark.parametrize("name", LAYERS)
def test_any_leading_axes(name):
    fast, _, params = LAYERS[name]
    x = draw((2, 3, 5, 4, 4), jnp.float32, 0)
    weights = [draw(s, jnp.float32, i + 1) for i, s in enumerate(params(4))]
    fast = jax.jit(fast)
    flat = fast(x.reshape(6, 5, 4, 4), *weights)
    assert_same(fast(x, *weights), flat.reshape(2, 3, *flat.shape[1:]), 25)
    assert_same(fast(x[0, 0], *weights), flat[0], 25)


@pytest.mark.parametrize("name", LAYERS)
def test_bfloat16_sums_in_float32(name):
    fast, _, params = LAYERS[name]
    x = draw((1, 16, 16, 32), jnp.bfloat16, 0)
    weights = [draw(s, jnp.bfloat16, i + 1) for i, s in enumerate(params(32))]
    y, pull = jax.vjp(fast, x, *weights)
    exact, pull_exact = jax.vjp(fast, *(a.astype(jnp.float32) for a in (x, *weights)))
    g = draw(y.shape, jnp.bfloat16, 9)
    # One rounding of the inputs' products to 8 bits, and for LayerNorm one more before scale and bias.
    for ours, theirs in zip((y, *pull(g)), (exact, *pull_exact(g.astype(jnp.float32)))):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, rtol=0, atol=2**-7 * scale_of(theirs))


def test_the_two_forms_of_the_depthwise_convolution_agree_and_can_be_chosen():
    x, kernel = draw((2, 6, 5, 4), jnp.float32, 0), draw((3, 3, 1, 4), jnp.float32, 1)
    results = {}
    for form in ("shifts", "conv"):
        with layers.depthwise_as(form):
            assert layers.depthwise_form(x) == form
            results[form] = layers.depthwise_conv(x, kernel)
            graph = jax.jit(lambda x, k: layers.depthwise_conv(x, k)).lower(x, kernel).as_text()
        assert ("stablehlo.convolution" in graph) == (form == "conv")
    assert_same(results["shifts"], results["conv"], 9)
    with pytest.raises(ValueError, match="odd kernel"):
        layers.depthwise_conv(x, kernel[:2, :2])


@pytest.mark.parametrize("b", [(), (3,), (2, 3)])
def test_a_scaled_pointwise_convolution_is_that_of_the_scaled_image_in_either_form(b):
    x, scale = draw((*b, 4, 5, 6), jnp.float32, 0), draw((*b, 1, 1, 6), jnp.float32, 1)
    kernel, bias = draw((6, 3), jnp.float32, 2), draw((3,), jnp.float32, 3)
    expected = layers.pointwise_conv(x * scale, kernel, bias)
    for form in ("shifts", "conv"):
        with layers.depthwise_as(form):
            assert_same(layers.pointwise_conv(x, kernel, bias, scale), expected, 6)


def test_a_mesh_takes_the_form_that_it_can_divide():
    mesh = jax.make_mesh((1,), ("data",))
    x = jax.device_put(jnp.ones((2, 4, 4, 2)), jax.NamedSharding(mesh, jax.P("data")))
    kernel = draw((3, 3, 1, 2), jnp.float32, 1)
    forms = []

    def loss(kernel, x):
        forms.append(layers.depthwise_form(x))
        return jnp.sin(layers.depthwise_conv(x, kernel)).sum()

    gradient = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=(jax.P(), jax.P("data")), out_specs=jax.P())
    assert_same(jax.jit(gradient)(kernel, x), jax.grad(loss)(kernel, jnp.ones(x.shape)), 100)
    assert set(forms[:-1]) == {"conv"}


def test_layer_norm_keeps_a_small_difference_on_a_bright_pixel():
    x = 1e4 + jnp.array([[0.0, 1.0, 2.0, 3.0]])
    y = layers.layer_norm(x, jnp.ones(4), jnp.zeros(4))
    np.testing.assert_allclose(y, (np.arange(4.0)[None] - 1.5) / np.sqrt(1.25), rtol=1e-5)


def test_simple_gate_multiplies_the_halves():
    x = draw((2, 3, 3, 6), jnp.float32, 0)
    np.testing.assert_array_equal(layers.simple_gate(x), x[..., :3] * x[..., 3:])


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle_and_unshuffle(r):
    x = draw((2, 4, 5, r * r * 3), jnp.float32, 0)
    y = layers.pixel_shuffle(x, r)
    assert y.shape == (2, 4 * r, 5 * r, 3)
    np.testing.assert_array_equal(layers.pixel_unshuffle(y, r), x)
    for i in range(r):
        for j in range(r):
            np.testing.assert_array_equal(y[:, i::r, j::r], x[..., (i * r + j) * 3 :][..., :3])
    np.testing.assert_array_equal(layers.pixel_shuffle(x[None, 0], r)[0], layers.pixel_shuffle(x[0], r))


@pytest.mark.parametrize("shuffle", [layers.pixel_shuffle, layers.pixel_unshuffle])
def test_no_intermediate_has_more_than_five_axes(shuffle):
    jaxpr = jax.make_jaxpr(lambda x: shuffle(x, 2))(jnp.zeros((2, 4, 4, 4)))
    assert max(v.aval.ndim for e in jaxpr.eqns for v in (*e.invars, *e.outvars)) <= 5
    with pytest.raises(ValueError, match="wants"):
        shuffle(jnp.zeros((1, 5, 5, 5)), 2)


def test_strided_convolution_is_a_pointwise_one_of_cells():
    x, kernel = draw((1, 6, 4, 3), jnp.float32, 0), draw((2, 2, 3, 5), jnp.float32, 1)
    strided = lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert_same(layers.pointwise_conv(layers.pixel_unshuffle(x, 2), kernel.reshape(12, 5)), strided, 12)


@pytest.mark.parametrize(("h", "w", "multiple"), [(1, 1, 8), (37, 53, 16), (8, 8, 8), (5, 8, 4)])
def test_pad_to_multiple_mirrors_and_crops_back(h, w, multiple):
    x = draw((2, h, w, 3), jnp.float32, 0)
    padded, (height, width) = layers.pad_to_multiple(x, multiple)
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert max(padded.shape[1] - h, padded.shape[2] - w) < multiple
    np.testing.assert_array_equal(padded[:, :height, :width], x)
    expected = np.pad(x, [(0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0)], mode="symmetric")
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (layers.DepthwiseConv(), {"kernel": (3, 3, 1, 6), "bias": (6,)}),
        (layers.DepthwiseConv(5, use_bias=False), {"kernel": (5, 5, 1, 6)}),
        (layers.PointwiseConv(7), {"kernel": (6, 7), "bias": (7,)}),
        (layers.PointwiseConv(7, use_bias=False), {"kernel": (6, 7)}),
        (layers.LayerNorm(), {"scale": (6,), "bias": (6,)}),
    ],
)
def test_modules_have_the_conventional_parameters(module, shapes, key):
    x = jnp.ones((1, 4, 4, 6))
    params = module.init(key, x)["params"]
    assert jax.tree.map(jnp.shape, params, is_leaf=lambda leaf: hasattr(leaf, "shape")) == shapes
    half = module.clone(dtype=jnp.bfloat16)
    assert half.apply({"params": params}, x).dtype == jnp.bfloat16
    moved = jax.tree.map(lambda leaf: leaf + 1, params)
    assert not np.allclose(module.apply({"params": moved}, x), module.apply({"params": params}, x))


@pytest.mark.parametrize("form", ["conv", "shifts"])
def test_pointwise_conv_of_one_pixel(form):
    x, kernel, bias = jnp.arange(3.0).reshape(1, 1, 1, 3), jnp.arange(6.0).reshape(3, 2), jnp.array([1.0, -1.0])
    with layers.depthwise_as(form):
        out = layers.pointwise_conv(x, kernel, bias, scale=jnp.full((1, 1, 1, 3), 2.0))
    np.testing.assert_array_equal(out, [[[[21.0, 25.0]]]])
