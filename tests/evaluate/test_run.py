"""Evaluation against scikit-image's numbers on the same pictures."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from restore_jax.core import Observation
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate, weights_hash
from restore_jax.methods.regression import Cubic

PROTOCOL = Protocol({"name": "data.sets.embedded.Embedded", "split": "heldout"}, {"name": "degrade.noise.Gaussian"})


def test_rows_mean_and_stamp():
    said = []
    rows = evaluate(Cubic(1), PROTOCOL, progress=lambda done, total: said.append((done, total)))
    assert [row["photograph"] for row in rows] == ["chelsea", "coffee", "rocket", "mean"]
    assert {row["protocol"] for row in rows} == {PROTOCOL.stamp()["hash"]}
    assert said == [(1, 3), (2, 3), (3, 3)]
    for row, (_, obs, x) in zip(rows, PROTOCOL.cases):
        y8 = np.floor(np.clip(np.asarray(obs.y), 0, 1) * 255 + 0.5) / 255
        assert abs(row["psnr"] - peak_signal_noise_ratio(x, y8, data_range=1.0)) < 1e-3
    assert abs(rows[-1]["psnr"] - np.mean([row["psnr"] for row in rows[:-1]])) < 1e-9


def test_a_restorer_is_told_nothing_but_y():
    """An oracle that looks at the operator or the noise level would be measured on what no user has."""
    seen = []

    def spy(key, obs: Observation):
        seen.append(obs)
        return obs.y

    evaluate(spy, PROTOCOL)
    assert all(obs.operator is None and obs.noise_std is None and not obs.cond for obs in seen)


def test_the_same_restorer_gives_the_same_rows_twice():
    noisy = lambda key, obs: obs.y + 0.1 * jax.random.normal(key, obs.y.shape)
    assert evaluate(noisy, PROTOCOL) == evaluate(noisy, PROTOCOL)


def test_the_weights_are_hashed_wherever_they_are():
    @dataclass
    class Held:
        params: dict

    @dataclass
    class Around:
        restorer: object

    a, b = {"k": jnp.ones(2)}, {"k": jnp.zeros(2)}
    assert weights_hash(Held(a)) == weights_hash(Around(Around(Held(a)))) != weights_hash(Held(b))
    assert weights_hash(Held({"l": jnp.ones(2)})) != weights_hash(Held(a))
    assert weights_hash(Cubic(1)) is None


def test_an_answer_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"chelsea: the restorer answers .* does its scale fit"):
        evaluate(lambda key, obs: obs.y[:, ::2], PROTOCOL)
