"""How a program is best run on a CPU: settings of the process, which other devices do not read.

    prepare()          what our commands and experiments do first: the next two
    keep_freed_memory()    freed memory stays with the process
    convolve_by_eigen()    dense convolutions by Eigen, not by YNNPACK
    by_eigen()             whether they are
    run_in_order()         the parts of a program one after the other
    give_back_freed_memory()    what lies free now goes back to the system, once
    model(), cores()       what the processor calls itself, and how many of its cores are ours, for records

XLA reads its flags once: call them before the first computation. Importing the package changes nothing.
"""

import ctypes
import os
import platform
from importlib import metadata
from pathlib import Path

_SCHEDULER = "xla_cpu_enable_concurrency_optimized_scheduler"
_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_WITHOUT_CONVOLUTION = "-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>


def prepare() -> None:
    """`keep_freed_memory` and `convolve_by_eigen`, for programs that are ours from the beginning to the end."""
    keep_freed_memory()
    convolve_by_eigen()


def run_in_order() -> bool:
    """Whether XLA will run a CPU program's parts one after the other from now on.

    XLA:CPU (jaxlib 0.10.2) runs what does not depend on each other at once, and some programs then stop for ever: all
    threads idle, none woken. Zero-shot samplers with a network of some size and an operator that decomposes matrices
    did so on two cores, at their first or second call. This asks for XLA's sequential scheduler, with which they run.
    A setting of the user's own is left alone, and then the answer is what it says.
    """
    return _flag(_SCHEDULER, "false")


def convolve_by_eigen() -> bool:
    """Whether XLA will leave dense convolutions to Eigen from now on.

    jaxlib 0.10.2 gives them to YNNPACK, with which the gradient of SPAN x4 takes 1.5 times as long on two cores, and
    that of a U-Net 1.6 times (least of three runs each); products of matrices stay with YNNPACK. Other releases know
    other flags, and stop at one that they do not know: there nothing is set. A setting of the user's own is left alone.
    """
    if metadata.version("jaxlib") != "0.10.2":
        return False
    return _flag(_LIBRARY, _WITHOUT_CONVOLUTION)


def by_eigen() -> bool:
    """Whether dense convolutions are Eigen's in this process: `convolve_by_eigen`, or the user, has said so."""
    return _is_set(_LIBRARY, _WITHOUT_CONVOLUTION)


def _flag(name: str, value: str) -> bool:
    """Whether XLA_FLAGS gives `name` this value, which it does from now on unless it gave another."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{name}={value}".strip()
    return _is_set(name, value)


def _is_set(name: str, value: str) -> bool:
    return f"--{name}={value}" in os.environ.get("XLA_FLAGS", "").split()


def keep_freed_memory(limit: int = 2**30) -> bool:
    """Freed pieces of up to `limit` bytes stay with the process and are used again; True if it took.

    For the whole process, until it ends, and for threads that have not begun yet: call it before JAX
    computes anything. All threads then share one heap, and the process stays as large as it has been
    once. XLA takes the temporaries of a jitted call in one piece and frees it at the end; the C library's
    malloc hands any piece of more than 32 MiB straight back to the operating system, and the heap of any
    thread but the first as soon as it is empty. Every page is then cleared and mapped anew at the next
    call: for the training step of one NAF block at 256 x 256, 45,000 page faults and a quarter of the
    time (`python -m benchmarks.nafnet` times both). Where the C library is not glibc (macOS, Windows,
    musl) it does nothing.

    Reference: mallopt(3), M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX.
    """
    if not 0 < limit < 2**31:
        raise ValueError(f"limit is {limit} bytes; malloc takes 1 to {2**31 - 1}.")
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  musl has a mallopt that changes nothing
    except (OSError, TypeError, AttributeError):
        return False
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, limit), (_M_TRIM_THRESHOLD, 2**31 - 1))
    return all([libc.mallopt(parameter, value) for parameter, value in settings])


def give_back_freed_memory() -> bool:
    """Freed memory that was kept goes back to the system, pages inside the heap too; True if there was any.

    For long work whose peak counts: where a piece comes to lie in the heap is chance, and each that no longer fits a
    hole makes the process larger by a whole one. Costs the page faults of what is taken again. Where the C library is
    not glibc it does nothing.

    Reference: malloc_trim(3).
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, TypeError, AttributeError):
        return False


def cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def model() -> str:
    """What the processor calls itself; its architecture where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
