"""Every config builds, trains a step, and refuses what is misspelt or of the wrong type."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.core import Method
from restore_jax.train.config import Config
from restore_jax.train.step import create_state, make_step

ROOT = Path(__file__).parents[1]
FILES = sorted(p for p in (ROOT / "configs").glob("*.py") if "def get_config" in p.read_text())
FILES += sorted((ROOT / "configs" / "zoo").glob("[a-z]*.py"))


def get_config(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


SLOW = {"blind", "real_esrgan"}  # half a minute of compilation
NAMES = {p: p.relative_to(ROOT / "configs").with_suffix("").as_posix() for p in FILES}
SOAKED = {p for p, name in NAMES.items() if name in SLOW or name.startswith("zoo/")}


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.soak] if p in SOAKED else [], id=NAMES[p]) for p in FILES]
)
def test_a_config_trains_a_step(path):
    raw = get_config(path)
    narrow = {"width": 8, "blocks": 1, "enc_blocks": (1, 1, 1), "middle_blocks": 1}  # the recipe's own net
    net = raw.method.net if "net" in raw.method else raw.method.generator.net
    net.update({name: value for name, value in narrow.items() if name in net})
    config = Config.parse(raw)
    method, degrade = build(config.method), build(config.degrade)
    assert isinstance(method, Method)
    assert spec_of(build(spec_of(method))) == spec_of(method)
    optimizer = build(config.optim).transform(config.batch_size, config.images)
    state = create_state(method, degrade, optimizer, jax.random.key(0), (32, 32, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    after, metrics = jax.jit(make_step(method, degrade, optimizer, config.ema_half_life_images))(state, images)
    assert np.isfinite(float(metrics["loss"]))
    assert int(after.step) == 1


@pytest.mark.parametrize("path", FILES, ids=NAMES.get)
def test_a_config_is_locked(path):
    config = get_config(path)
    with pytest.raises(AttributeError, match="Did you mean"):
        config.batchsize = 3
    with pytest.raises(TypeError):
        config.batch_size = "many"


@pytest.mark.parametrize("path", FILES, ids=NAMES.get)
def test_the_recipe_is_in_the_docstring(path):
    text = path.read_text()
    assert f"--config configs/{NAMES[path]}.py" in text.split('"""')[1]


def test_there_are_four():
    assert {"regression", "diffusion", "consistency", "blind"} <= {p.stem for p in FILES}
