"""A demonstration is the model's own answer to its own damage, and a prior keeps the pixels that there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.core import Observation
from restore_jax.evaluate.demo import MISSING, PRIOR, demonstrate, sheet
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, ModelError, write_model
from restore_jax.metrics.psnr import Psnr
from tests.train.tiny import DIFFUSION, TINY_NET

X = np.random.default_rng(0).uniform(0.2, 0.8, (16, 16, 3)).astype(np.float32)
DEGRADE = {"name": "degrade.downsample.Downsample", "scale": 2}
ENLARGES = DIFFUSION | {"scale": 2}


def folder_of(tmp_path, method, task="", degrade=None):
    built = build(method)
    obs = Observation(y=jnp.asarray(X)[None, :: built.scale, :: built.scale])
    params = jax.tree.map(np.asarray, built.init(jax.random.key(0), obs, jnp.asarray(X)[None]))
    return write_model(tmp_path / "model", Model(spec_of(built), params, task=task, degrade=degrade or {}))


def test_it_is_the_model_on_its_own_damage(tmp_path):
    folder = folder_of(tmp_path, ENLARGES, "sr2", DEGRADE)
    shown = demonstrate(folder, X, seed=3)
    key_damage, key = jax.random.split(jax.random.key(3))
    y = build(DEGRADE)(key_damage, jnp.asarray(X)).y
    np.testing.assert_array_equal(shown.y, y)
    x_hat = np.clip(load(folder)(key, Observation(y=y[None])), 0, 1)
    np.testing.assert_allclose(shown.x_hat, x_hat[0], atol=1e-5)  # one is compiled, the other not
    psnr = float(Psnr()(jnp.asarray(shown.x_hat)[None], jnp.asarray(X)[None])[0])
    assert shown.after_db == pytest.approx(psnr)
    assert shown.nfe == 1
    assert "1 evaluation " in str(shown)


@pytest.mark.parametrize("consistent", [True, False])
def test_a_prior_keeps_what_is_there(tmp_path, consistent):
    precondition = {"name": "diffusion.precondition.Edm", "sigma_data": 0.2, "sees": ()}
    ode = {
        "name": "diffusion.sampler.Ode",
        "step": {"name": "diffusion.solver.Euler"},
        "schedule": {"name": "diffusion.schedule.Karras"},
    }
    sampler = {"name": "diffusion.sampler.Consistency", "sigmas": (1.0,)} if consistent else ode
    method = DIFFUSION | {"net": TINY_NET, "precondition": precondition, "sampler": sampler}
    shown = demonstrate(folder_of(tmp_path, method, PRIOR), X, seed=0)
    seen = np.asarray(build(MISSING)(jax.random.split(jax.random.key(0))[0], jnp.asarray(X)).y) != 0
    assert 0.1 < seen.mean() < 0.5
    np.testing.assert_allclose(shown.x_hat[seen], X[seen], atol=1e-5)
    assert np.abs(shown.x_hat - X)[~seen].mean() > 1e-2  # nothing is known there
    assert shown.nfe == (4 if consistent else 25)


def test_what_says_nothing_cannot_be_shown(tmp_path):
    with pytest.raises(ModelError, match="does not say what damage"):
        demonstrate(folder_of(tmp_path, ENLARGES), X)


def test_a_sheet_has_a_row_a_model(tmp_path):
    shown = demonstrate(folder_of(tmp_path, ENLARGES, "sr2", DEGRADE), X)
    one, two = sheet([shown], X), sheet([shown, shown.__class__(**(vars(shown) | {"name": "other"}))], X)
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > 1.8 * one.shape[0]
