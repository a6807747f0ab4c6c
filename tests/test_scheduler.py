"""The sequential scheduler is asked for, the user's own choice is kept, and a program that hung without it ends."""

import os
import subprocess
import sys

import pytest

from restore_jax.scheduler import run_in_order

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
PROGRAM = """
from restore_jax.scheduler import run_in_order
run_in_order()
import jax
from configs import zero_shot
from restore_jax.build import build
from restore_jax.core import Observation
from configs.prior import get_config

method = build(get_config().to_dict()["method"])
x = jax.random.uniform(jax.random.key(0), (4, 64, 64, 3))
params = jax.jit(method.init)(jax.random.key(1), Observation(y=x), x)
keys = jax.random.split(jax.random.key(2), 4)
obs = jax.jit(jax.vmap(build(zero_shot.TASKS["deblur"])))(keys, x)
for name in ("DDRM", "DDNM"):
    sampler = build(zero_shot.SAMPLERS[name][0])
    run = jax.jit(lambda keys, obs: sampler(keys, lambda x, s: method.evaluate(params, x, s, obs), obs))
    for _ in range(3):
        jax.block_until_ready(run(keys, obs))
"""


@pytest.mark.parametrize(
    ("before", "after", "in_order"),
    [("", f"{FLAG}=false", True), ("--a=1", f"--a=1 {FLAG}=false", True), (f"{FLAG}=true", f"{FLAG}=true", False)],
)
def test_the_flag_is_set_once_and_the_users_is_kept(monkeypatch, before, after, in_order):
    monkeypatch.setenv("XLA_FLAGS", before)
    for _ in range(2):
        assert run_in_order() is in_order
        assert os.environ["XLA_FLAGS"] == after


@pytest.mark.soak
def test_zero_shot_samplers_with_a_large_network_end():
    """Without the flag this hangs at the first or second call on two cores."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("JAX_DISABLE")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], timeout=300, capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr
