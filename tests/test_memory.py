"""Memory that is freed and needed again costs page faults, unless it is kept."""

import subprocess
import sys

import pytest

from restore_jax.memory import keep_freed_memory

FAULTS = """
import resource, sys
import jax, jax.numpy as jnp
from restore_jax.memory import keep_freed_memory

took = keep_freed_memory() if sys.argv[1] == "keep" else True
x = jnp.ones((3000, 3000))                            # 34 MiB; the product in between is a temporary
f = jax.jit(lambda x: jnp.sin(x @ x[:, :8] @ x[:8]) @ x[:, :8])
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    f(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(took, min(faults() for _ in range(20)))  # the heap grows in the first calls, and other work may move it
"""


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


@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_a_limit_that_malloc_cannot_take_is_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        keep_freed_memory(limit)
