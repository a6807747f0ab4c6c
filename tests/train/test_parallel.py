"""One device, a mesh and pmap train the same parameters. Run on two fake devices, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from restore_jax.train.parallel import Mesh, Pmap

SCRIPT = """
import json, sys
import jax, numpy as np
from restore_jax.build import build
from restore_jax.train.parallel import Mesh, Pmap, Single
from restore_jax.train.step import create_state, make_step
from tests.train.tiny import DIFFUSION, NOISE

assert jax.device_count() == 2
method, degrade = build(DIFFUSION), build(NOISE)
optimizer = build({"name": "train.optim.AdamW", "rate": 1e-3}).transform(4, 400)
images = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3), np.uint8)
fresh = create_state(method, degrade, optimizer, jax.random.key(3), (16, 16, 3))
out = {}
for strategy in (Single(), Mesh(), Pmap()):
    state = jax.jit(lambda s: jax.tree.map(jax.numpy.copy, s))(fresh)  # the step eats its state
    step = strategy.compile(lambda axis: make_step(method, degrade, optimizer, 16, axis))
    state, losses = strategy.place(state), []
    for batch in images:
        state, metrics = step(state, strategy.shard(batch))
        losses.append(float(metrics["loss"]))
    leaves = jax.tree.leaves(strategy.whole(state).params)
    out[type(strategy).__name__] = {"params": np.concatenate([np.ravel(a) for a in leaves]).tolist(), "losses": losses}
print(json.dumps(out))
"""


def on_devices(n: int, script: str) -> str:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_steps_are_the_same_on_one_device_a_mesh_and_pmap():
    out = json.loads(on_devices(2, SCRIPT).splitlines()[-1])
    single = np.asarray(out["Single"]["params"])
    for name in ("Mesh", "Pmap"):
        # The draws are the same to the bit; gradients differ by the order of float32 sums, some 1e-7 of their
        # size, and Adam passes relative differences on: 3 steps of rate 1e-3 stay within 3e-3 * 1e-3.
        np.testing.assert_allclose(out[name]["params"], single, rtol=0, atol=3e-6, err_msg=name)
        np.testing.assert_allclose(out[name]["losses"], out["Single"]["losses"], rtol=1e-5, err_msg=name)
    assert np.ptp(out["Single"]["losses"]) > 0


def test_a_batch_that_does_not_divide_is_refused():
    on_devices(
        2,
        "import numpy as np, pytest\n"
        "from restore_jax.train.parallel import Mesh, Pmap\n"
        "for s in (Mesh(), Pmap()):\n"
        "    with pytest.raises(ValueError, match='batch of 3 does not divide over 2'):\n"
        "        s.shard(np.zeros((3, 4)))\n",
    )


@pytest.mark.parametrize("strategy", [Mesh, Pmap])
def test_more_devices_than_there_are(strategy):
    with pytest.raises(ValueError, match="99 devices were asked for"):
        _ = strategy(n_devices=99).devices
