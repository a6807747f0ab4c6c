"""Exported files beside JAX: how far, how large, how good, how fast; and planted errors.

    python -m benchmarks.export              what is not measured yet, and `results/export.json`; `make bench-export`
    python -m benchmarks.export published    one part again

Its parts are commands of their own and say there how they measure: `benchmarks.export_files` (published weights,
few-step samplers, every net) and `benchmarks.planted`. `benchmarks.export_table` prints what docs/export.md shows.
"""

from typing import Any

from benchmarks.parts import gathered

PARTS = {
    "published": "-m benchmarks.export_files published",
    "steps": "-m benchmarks.export_files steps",
    "nets": "-m benchmarks.export_files nets",
    "planted": "-m benchmarks.planted",
}


def figures(said: dict[str, Any]) -> dict[str, Any]:
    """All rows in one table, and the planted errors."""
    rows = [{"part": part} | row for part in ("published", "steps", "nets") for row in said[part]["rows"]]
    return {"rows": rows, "planted_errors": said["planted"]}


if __name__ == "__main__":
    gathered("export", PARTS, figures, __doc__)
