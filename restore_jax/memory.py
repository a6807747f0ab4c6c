"""How a program on a CPU keeps the memory that it is about to need again.

XLA takes the temporaries of a jitted call in one piece and frees it at the end. The C library's
malloc hands any piece of more than 32 MiB straight back to the operating system, and the heap of any
thread but the first as soon as it is empty. Every page is then cleared and mapped anew at the next
call: for the training step of one NAF block at 256 x 256, 45,000 page faults and a quarter of the
time (`python -m benchmarks.nafnet` times both). A GPU has an allocator of its own, and is not
concerned.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>


def keep_freed_memory(limit: int = 2**30) -> bool:
    """Freed pieces of up to `limit` bytes stay with the process and are used again; True if it took.

    For the whole process, until it ends, and for threads that have not begun yet: call it before JAX
    computes anything. All threads then share one heap, and the process stays as large as it has been
    once. Our commands and experiments do so themselves; importing the package changes nothing. Where
    the C library is not glibc (macOS, Windows, musl) it does nothing.

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
