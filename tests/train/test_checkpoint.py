"""Checkpoints: what is saved comes back to the bit, and what cannot be used is refused by name."""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.data.pipeline import Pipeline
from restore_jax.train.checkpoint import CheckpointError, Checkpoints, read
from restore_jax.train.step import create_state
from tests.train.tiny import DIFFUSION, NOISE, tiny_config


@pytest.fixture
def state():
    optimizer = build({"name": "train.optim.AdamW"}).transform(4, 400)
    return create_state(build(DIFFUSION), build(NOISE), optimizer, jax.random.key(3), (16, 16, 3))


@pytest.fixture
def pipeline():
    return Pipeline(build(tiny_config()["train_set"]), 4, 16)


def equal(a, b):
    raw = lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(raw(x), raw(y)), a, b)


def test_round_trip(tmp_path, state, pipeline):
    state = state.replace(step=jnp.int32(5), params=jax.tree.map(lambda p: p + 0.1, state.params))
    iterator = pipeline.iterator()
    for _ in range(5):
        next(iterator)
    with Checkpoints(tmp_path, tiny_config()) as checkpoints:
        checkpoints.save(state, iterator)
    fresh = state.replace(step=jnp.int32(0), key=jax.random.key(99), params=jax.tree.map(lambda p: p * 0, state.params))
    other = pipeline.iterator()
    with Checkpoints(tmp_path, tiny_config()) as checkpoints:
        assert checkpoints.latest == 5
        equal(checkpoints.restore(fresh, other), state)
    np.testing.assert_array_equal(next(other), pipeline[5])
    config, arrays, step = read(tmp_path)
    assert step == 5
    assert config["images"] == tiny_config()["images"]
    equal(arrays["params"], state.params)


def test_the_newest_are_kept(tmp_path, state, pipeline):
    with Checkpoints(tmp_path, tiny_config(), keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state.replace(step=jnp.int32(step)), pipeline.iterator())
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()) == ["2", "3"]


def test_another_config_is_refused_with_what_differs(tmp_path):
    Checkpoints(tmp_path, tiny_config()).__exit__()
    other = tiny_config(images=64, degrade=NOISE | {"std": 0.2})
    with pytest.raises(CheckpointError, match="belongs to another config") as caught:
        Checkpoints(tmp_path, other)
    assert "degrade.std: saved 0.1, asked 0.2" in str(caught.value)
    assert "images: saved 32, asked 64" in str(caught.value)
    assert "batch_size" not in str(caught.value)


def test_how_a_run_is_watched_may_change(tmp_path):
    Checkpoints(tmp_path, tiny_config()).__exit__()
    Checkpoints(tmp_path, tiny_config(log_every_images=16, keep=1, parallel={"name": "train.parallel.Mesh"})).__exit__()


def test_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"Cannot write to --workdir .*file"):
        Checkpoints(tmp_path / "file" / "run", tiny_config())


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, state, pipeline):
    """A limit on the size of files stands in for a full disk: the system refuses the write in the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path, tiny_config()) as checkpoints:
        checkpoints.save(state.replace(step=jnp.int32(1)), pipeline.iterator())
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        try:
            with pytest.raises(CheckpointError, match=r"step 2 .*File too large.* step 1, is still there.*Free some"):
                checkpoints.save(state.replace(step=jnp.int32(2)), pipeline.iterator())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Checkpoints(tmp_path, tiny_config()) as checkpoints:
        assert checkpoints.latest == 1
        equal(checkpoints.restore(state, pipeline.iterator()), state.replace(step=jnp.int32(1)))


def test_reading_where_there_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        read(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        read(tmp_path)
