"""Layouts and configs side by side, and what of a state is taken where they differ."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from restore_jax.train import migrate
from tests.train.world import bits, state_at


def saved(tmp_path, state):
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        writer.save(tmp_path / "step", ocp.args.Composite(state=ocp.args.StandardSave(migrate.without_keys(state))))
    return tmp_path / "step"


def test_keys_there_and_back():
    state = state_at(3).replace(key=jax.random.key(1, impl="rbg"))
    raw = migrate.without_keys(state)
    assert raw.key.dtype == jnp.uint32
    back = migrate.with_keys(state, raw)
    assert back.key.dtype == state.key.dtype
    assert back.aux["key"].dtype == state.aux["key"].dtype
    assert bits(back) == bits(state)


def test_paths_on_disk_are_those_of_the_state(tmp_path):
    """The law that migration rests on: fields, keys and positions have one name in the code and in the files."""
    state = state_at(3).replace(opt_state=optax.adamw(1e-3).init(state_at(3).params))
    arrays = migrate.arrays(saved(tmp_path, state))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(arrays))
    assert migrate.layout(arrays) == migrate.layout(migrate.without_keys(state))
    assert bits(arrays) == bits(state)
    assert bits(migrate.placed(tmp_path / "step", migrate.without_keys(state))) == bits(state)


def test_layouts():
    tree = {"a": jnp.zeros((3, 4), jnp.bfloat16), "b": (jnp.int32(1), None)}
    assert migrate.layout(tree) == {"a": "bfloat16[3,4]", "b/0": "int32[]"}
    other = migrate.layout({"a": jnp.zeros((3, 5), jnp.bfloat16), "c": jnp.int32(1)})
    assert migrate.layout_differences(migrate.layout(tree), other) == [
        "  a: saved bfloat16[3,4], asked bfloat16[3,5]",
        "  b/0: saved int32[], not asked for",
        "  c: not saved, asked int32[]",
    ]
    assert migrate.layout_differences(other, other) == []


def test_configs():
    old = {"degrade": {"std": 0.1}, "list": [1, 2], "retain": {"latest": 2}, "label": "a"}
    new = {"degrade": {"std": 0.2}, "list": [1, 3], "retain": {"latest": 9}, "profile": "x", "more": None, "label": "a"}
    assert migrate.config_differences(old, new | {"more": 1}) == [
        "  degrade.std: saved 0.1, asked 0.2",
        "  list.1: saved 2, asked 3",
        "  more: saved 'nothing', asked 1",
    ]
    assert migrate.config_differences(old, old) == []


def test_what_fits_is_taken():
    template = {"same": jnp.zeros(2), "half": jnp.zeros(2, jnp.bfloat16), "wider": jnp.zeros(3), "new": jnp.ones(1)}
    template["count"] = jnp.float32(5)
    found = {"same": np.array([1, 2], np.float32), "half": np.array([1, 2.001], np.float32), "old": np.zeros(1)}
    found |= {"wider": np.ones(2, np.float32), "count": np.int32(7)}
    state, lines = migrate.taken(found, template)
    np.testing.assert_array_equal(state["same"], [1, 2])
    assert state["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(state["half"], jnp.array([1, 2], jnp.bfloat16))  # spacing at 2 is 2^-6 > 0.001
    np.testing.assert_array_equal(state["wider"], np.zeros(3))
    assert state["count"] == 5  # an integer is not taken for a float
    assert lines == ["  count: begins afresh", "  new: begins afresh", "  wider: begins afresh", "  old: not used"]
    assert state["same"].sharding == template["same"].sharding


def test_long_lists_are_cut():
    lines = [f"  {i}" for i in range(30)]
    assert migrate.listed(lines[:20]).count("\n") == 19
    assert migrate.listed(lines).endswith("  19\n  and 10 more")
