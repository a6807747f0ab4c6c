"""A protocol is data: the same fields, the same cases and the same stamp."""

import numpy as np

from restore_jax.evaluate.protocol import Protocol

EMBEDDED = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}


def test_cases_are_the_same_twice_and_depend_on_the_seed():
    first, again, other = (Protocol(EMBEDDED, NOISE, seed=s).cases for s in (0, 0, 1))
    for (name, obs, x), (name_2, obs_2, x_2), (_, obs_3, _) in zip(first, again, other):
        assert name == name_2
        np.testing.assert_array_equal(x, x_2)
        np.testing.assert_array_equal(obs.y, obs_2.y)
        assert np.abs(np.asarray(obs.y) - np.asarray(obs_3.y)).max() > 0


def test_photographs_are_cropped_to_the_multiple():
    for _, obs, x in Protocol(EMBEDDED, NOISE, multiple=64).cases:
        assert x.shape[0] % 64 == 0
        assert x.shape[1] % 64 == 0
        assert obs.y.shape == x.shape


def test_what_is_compared():
    picture = np.linspace(-0.5, 1.5, 8 * 8 * 3).reshape(8, 8, 3)
    seen = Protocol(EMBEDDED, NOISE, border_px=2).compared(picture)
    assert seen.shape == (4, 4, 3)
    np.testing.assert_allclose(seen * 255, np.round(seen * 255), atol=1e-4)
    assert seen.min() >= 0
    assert seen.max() <= 1
    whole = Protocol(EMBEDDED, NOISE, quantize=False).compared(picture)
    np.testing.assert_allclose(whole, np.clip(picture, 0, 1), rtol=1e-6)


def test_the_stamp_tells_protocols_apart():
    stamps = [
        Protocol(EMBEDDED, NOISE).stamp()["hash"],
        Protocol(EMBEDDED, NOISE, seed=1).stamp()["hash"],
        Protocol(EMBEDDED, NOISE, quantize=False).stamp()["hash"],
        Protocol(EMBEDDED, NOISE | {"std": 0.2}).stamp()["hash"],
    ]
    assert len(set(stamps)) == 4
    assert stamps[0] == Protocol(EMBEDDED, NOISE).stamp()["hash"]
