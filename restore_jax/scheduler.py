"""In which order XLA runs a program on a CPU.

XLA:CPU (jaxlib 0.10.2) runs what does not depend on each other at once, and some programs then stop for ever: all
threads idle, none woken. Zero-shot samplers with a network of some size and an operator that decomposes matrices did
so on two cores, at their first or second call. `run_in_order` asks for XLA's sequential scheduler, with which they run.
"""

import os

_FLAG = "xla_cpu_enable_concurrency_optimized_scheduler"


def run_in_order() -> bool:
    """Whether XLA will run a CPU program's parts one after the other from now on.

    It is a flag of the process, which XLA reads once: call it before the first computation. A setting of the user's own
    is left alone, and then the answer is what it says.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{_FLAG}=false".strip()
    return f"--{_FLAG}=false" in os.environ["XLA_FLAGS"]
