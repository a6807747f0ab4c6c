"""Training in figures: speed beside PyTorch, cost of real data, kills, damaged checkpoints, many devices.

    python -m benchmarks.train               what is not measured yet, and `results/train.json`; about an hour
    python -m benchmarks.train step          one part again

Its parts are commands of their own and say there how they measure: `benchmarks.train_step`, `benchmarks.input`,
`tests.train.killed` (30 SIGKILLs), `tests.train.corrupt` (100 damages), `benchmarks.parallel`.
"""

from typing import Any

from benchmarks.parts import gathered

PARTS = {
    "step": "-m benchmarks.train_step --compile",
    "input": "-m benchmarks.input",
    "killed": "-m tests.train.killed --kills 30 --images 600",
    "corrupt": "-m tests.train.corrupt --cases 100",
    "parallel": "-m benchmarks.parallel",
}


def figures(said: dict[str, Any]) -> dict[str, Any]:
    """The figures of all parts under the names of their subjects."""
    return {
        **said["step"],
        "data_overhead": said["input"]["data_overhead"],
        "sigkill": said["killed"],
        "corrupt": said["corrupt"],
        **said["parallel"],
    }


if __name__ == "__main__":
    gathered("train", PARTS, figures, __doc__)
