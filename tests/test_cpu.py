"""Flags are set once and the user's are kept; a program that hung ends; memory that is kept is not mapped again."""

import os
import subprocess
import sys

import pytest

from restore_jax.cpu import convolve_by_eigen, cores, keep_freed_memory, model, run_in_order

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
PROGRAM = """
from restore_jax.cpu import run_in_order
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
FAULTS = """
import resource, sys
import jax, jax.numpy as jnp
from restore_jax.cpu import keep_freed_memory

took = keep_freed_memory() if sys.argv[1] == "keep" else True
x = jnp.ones((3000, 3000))                            # 34 MiB; the product in between is a temporary
f = jax.jit(lambda x: jnp.sin(x @ x[:, :8] @ x[:8]) @ x[:, :8])
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    f(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(took, min(faults() for _ in range(20)))  # the heap grows in the first calls, and other work may move it
"""
CONVOLUTION = """
from restore_jax.cpu import by_eigen, convolve_by_eigen
assert not by_eigen()
took = convolve_by_eigen()
assert by_eigen() == took
import jax, jax.numpy as jnp
layout = ("NHWC", "HWIO", "NHWC")
conv = jax.jit(lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout))
text = conv.lower(jnp.ones((1, 64, 64, 32)), jnp.ones((3, 3, 32, 32))).compile().as_text()
print(took, "ynn" in text)
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


def test_convolutions_are_left_to_eigen_where_the_flag_is_known():
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_DISABLE", "XLA_FLAGS"))}
    done = subprocess.run([sys.executable, "-c", CONVOLUTION], capture_output=True, text=True, env=plain, check=True)
    took, ynnpack = done.stdout.split()
    if took != "True":
        pytest.skip("another release of jaxlib: nothing to set")
    assert ynnpack == "False"


def test_a_users_choice_of_libraries_is_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=")
    assert not convolve_by_eigen()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_experimental_ynn_fusion_type="


def page_faults(policy: str) -> int:
    """Page faults of a call with a 34 MiB temporary, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FAULTS, policy], capture_output=True, text=True, check=True)
    took, faults = done.stdout.split()
    if took != "True":
        pytest.skip("the C library is not glibc: nothing to set")
    return int(faults)


def test_kept_memory_is_not_mapped_again():
    # 34 MiB are 8,789 pages of 4 KiB: mapped anew at every call, or once.
    assert page_faults("leave") > 8000
    assert page_faults("keep") < 800


def test_kept_memory_can_be_given_back():
    """500 MiB are freed and stay; then they do not."""
    program = """
import numpy as np
from pathlib import Path
from restore_jax.cpu import give_back_freed_memory, keep_freed_memory
took = keep_freed_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
pieces = [np.ones(2**20, np.uint8) for _ in range(500)]
last = np.ones(1)  # above them in the heap
del pieces
kept = resident() - before
give_back_freed_memory()
print(took, kept, resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    took, kept, left = done.stdout.split()
    if took != "True":
        pytest.skip("the C library is not glibc: nothing to set")
    assert int(kept) > 450 * 2**20
    assert int(left) < 50 * 2**20


@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_a_limit_that_malloc_cannot_take_is_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        keep_freed_memory(limit)


def test_the_processor_has_a_name():
    said = model()
    assert said
    assert said == said.strip()
    assert "\n" not in said


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not give cores to processes")
def test_cores_are_those_of_the_process():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, [min(before)])
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)
