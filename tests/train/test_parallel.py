"""One device, meshes and pmap train the same parameters. Run on fake devices, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from restore_jax.train.parallel import Mesh, Pmap, Single

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
import jax, numpy as np, optax
from restore_jax.core import Observation
from restore_jax.train.parallel import Mesh, Pmap, Single
from restore_jax.train.step import create_state, make_step
from tests.train.test_parallel import Couple

assert jax.device_count() == 2
degrade = lambda key, x: Observation(x + 0.1 * jax.random.normal(key, x.shape))
optimizer = optax.adam(1e-2, eps=1e-4)
images = np.random.default_rng(0).integers(0, 256, (4, 4, 8, 8, 3), np.uint8)
fresh = create_state(Couple(), degrade, optimizer, jax.random.key(3), (8, 8, 3))
cases = {
    "single": (Single(), 1, {}),
    "data": (Mesh(), 1, {}),
    "fsdp": (Mesh(1, 2, 0), 1, {}),
    "fsdp, accumulate, scan": (Mesh(fsdp=2, least_bytes=0), 2, {"accumulate": 2}),
    "pmap": (Pmap(), 1, {}),
    "pmap, scan": (Pmap(), 2, {}),
}
out = {}
for name, (strategy, k, fields) in cases.items():
    strategy.check(4, fields.get("accumulate", 1))
    state = jax.jit(lambda s: jax.tree.map(jax.numpy.copy, s))(fresh)  # the step eats its state
    run = strategy.compile(lambda axis: make_step(Couple(), degrade, optimizer, 16, axis, **fields), k)
    state, losses = strategy.place(state), []
    for batch in images if k == 1 else images.reshape(-1, k, *images.shape[1:]):
        state, metrics = run(state, strategy.shard(batch))
        losses += np.atleast_1d(metrics["loss"]).tolist()
    whole, moments = strategy.whole(state), [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim > 1]
    leaves = jax.tree.leaves((whole.params, whole.ema))
    sizes = [leaf.addressable_shards[0].data.size for leaf in [*jax.tree.leaves(state.params), *moments]]
    out[name] = {
        "params": np.concatenate([np.ravel(a) for a in leaves]).tolist(),
        "losses": losses,
        "held": sum(sizes),
        "key": jax.random.key_data(whole.key).tolist(),
    }
print(json.dumps(out))
"""


class Couple:
    """A method of a small dense layer, whose loss is a mean over examples."""

    def init(self, key, obs, x):
        return {"w": 0.1 * jax.random.normal(key, (6, 3)), "b": 0.1 * jax.random.normal(key, (6,))}

    def loss(self, params, state, obs, x, key):
        hidden = jax.nn.relu(jax.numpy.einsum("bhwc,dc->bhwd", obs.y, params["w"]) + params["b"].reshape(1, 1, 1, 6))
        draw = jax.vmap(lambda one: jax.random.normal(one, ()))(key)
        loss = (hidden.sum(-1) - x.mean(-1) * 3).mean((1, 2)) ** 2 + 0.1 * draw * hidden.mean((1, 2, 3))
        return loss.mean(), {}

    def restorer(self, params):
        return lambda key, obs: obs.y


def on_devices(n: int, script: str) -> str:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_four_steps_are_the_same_however_they_are_spread():
    out = json.loads(on_devices(2, SCRIPT).splitlines()[-1])
    single = out.pop("single")
    assert np.ptp(single["losses"]) > 1e-3
    for name, other in out.items():
        # The draws are the same to the bit. Sums of 256 terms in another order: 1e-6 of a gradient, of which Adam
        # (epsilon above rounding) makes at most so much of its rate, 1e-2, a step.
        np.testing.assert_allclose(other["params"], single["params"], rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(other["losses"], single["losses"], rtol=1e-5, err_msg=name)
        assert other["key"] == single["key"]
    # (6 x 3 + 6) parameters and two moments of the matrix: a device holds all, or half.
    assert out["data"]["held"] == single["held"] == 24 + 36
    assert out["fsdp"]["held"] == 30


def test_what_does_not_divide_or_multiply_is_refused():
    on_devices(
        2,
        "import numpy as np, pytest\n"
        "from restore_jax.train.parallel import Mesh, Pmap\n"
        "for s in (Mesh(), Mesh(fsdp=2), Pmap()):\n"
        "    with pytest.raises(ValueError, match='a batch of 3 does not divide over 2 devices'):\n"
        "        s.check(3)\n"
        "    with pytest.raises(ValueError, match='a batch of 3 does not divide'):\n"
        "        s.shard(np.zeros((3, 4, 4, 3), np.uint8))\n"
        "    with pytest.raises(ValueError, match='a batch of 6 does not divide over 2 devices in 2 parts'):\n"
        "        s.check(6, accumulate=2)\n"
        "for s in (Mesh(1), Mesh(2, 2), Mesh(fsdp=3)):\n"
        "    with pytest.raises(ValueError, match='must be the number of devices, 2, not'):\n"
        "        s.check(12)\n",
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mesh(data=-1), "Mesh.data must be 0 or above, not -1"),
        (lambda: Mesh(fsdp=0), "Mesh.fsdp must be 1 or above, not 0"),
        (lambda: Mesh(99).devices, r"must be the number of devices, 1, not 99 x 1: choose two numbers"),
        (lambda: Pmap(99).devices, r"Pmap.n_devices must be from 0 \(all\) to 1, the devices, not 99"),
        (lambda: Single().compile(lambda axis: lambda s, b: (s, b), 0), "A dispatch runs 1 step or more, not 0"),
    ],
)
def test_numbers_out_of_range(make, said):
    if jax.device_count() != 1:
        pytest.skip("the messages name one device")
    with pytest.raises(ValueError, match=said):
        make()


def test_steps_of_one_dispatch_are_steps():
    step = lambda state, batch: (state + batch.sum(), {"loss": state})
    state, metrics = Single().compile(lambda axis: step, 3)(
        np.float32(1.0), np.arange(6, dtype=np.float32).reshape(3, 2)
    )
    assert state == 16.0
    np.testing.assert_array_equal(metrics["loss"], [1.0, 2.0, 7.0])


@pytest.mark.soak
def test_every_strategy_after_20_steps_and_what_a_device_holds():
    """The benchmark's own figures, and what they must be."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.parallel", "--quick"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert max(figures["parity"].values()) <= 1e-5, figures["parity"]
    for n, ratio in figures["fsdp_bytes_ratio"].items():
        assert ratio <= 1 / int(n) * 1.1
    assert set(figures["collectives"]["data"]) == {"all-reduce"}
    assert "all-gather" in figures["collectives"]["fsdp"]
