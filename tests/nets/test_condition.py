"""The embedding tells noise levels apart, and FiLM starts as the identity and acts image by image."""

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.nets.condition import Film, NoiseEmbedding, sinusoids


def test_sinusoids_against_the_formula():
    t = jnp.asarray([-1.5, 0.0, 0.7])
    w = np.geomspace(0.25, 16.0, 5)
    angle = np.asarray(t, np.float64)[:, None] * w
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
    # Angles reach 24; their float32 frequencies, made by exp of log, are off by a few 2^-24 of themselves.
    np.testing.assert_allclose(sinusoids(t, 5), expected, atol=24 * 8 * 2**-24)


def test_levels_are_told_apart():
    """All of EDM's range, log(0.002)/4 ... log(80)/4: no two levels look alike."""
    t = jnp.linspace(jnp.log(0.002) / 4, jnp.log(80.0) / 4, 200)
    features = np.asarray(sinusoids(t, 32))
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1) + np.eye(200) * 10
    assert distance.min() > 0.05


def test_embedding_of_one_and_of_several_numbers(key):
    net = NoiseEmbedding(8)
    one, two = jnp.asarray([0.1, 0.2]), jnp.asarray([[0.1, 0.3], [0.1, 0.4]])
    for c_noise in (one, two):
        params = net.init(key, c_noise)
        out = net.apply(params, c_noise)
        assert out.shape == (2, 8)
        assert float(jnp.abs(out[0] - out[1]).max()) > 1e-4


def test_a_fresh_film_is_the_identity(key):
    x, embedding = jax.random.normal(key, (2, 3, 4, 5)), jax.random.normal(key, (2, 6))
    net = Film()
    np.testing.assert_array_equal(net.apply(net.init(key, x, embedding), x, embedding), x)


def test_film_scales_and_shifts_each_image_by_its_own(key):
    x, embedding = jax.random.normal(key, (2, 3, 4, 5)), jax.random.normal(key, (2, 6))
    net = Film()
    params = net.init(key, x, embedding)["params"]
    dense = {"kernel": jax.random.normal(key, (6, 10)), "bias": jnp.arange(10.0)}
    (name,) = params
    moments = jax.nn.silu(embedding) @ dense["kernel"] + dense["bias"][None]
    scale, shift = moments[:, None, None, :5], moments[:, None, None, 5:]
    np.testing.assert_allclose(
        net.apply({"params": {name: dense}}, x, embedding), x * (1 + scale) + shift, rtol=1e-5, atol=1e-5
    )
