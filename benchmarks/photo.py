"""Photographs in, photographs out: tiles, memory, time, round trips, damaged files, a folder.

    python -m benchmarks.photo            what is not measured yet, and `results/photo.json`; `make bench-photo`
    python -m benchmarks.photo fuzz       one part again

Its parts are commands of their own and say there how they measure: `benchmarks.photo_tiles`, `benchmarks.photo_files`
(round trips, and 5,000 damaged files), `benchmarks.photo_folder`.
"""

from typing import Any

from benchmarks.parts import gathered

PARTS = {
    "tiles": "-m benchmarks.photo_tiles",
    "round_trips": "-m benchmarks.photo_files round_trips",
    "fuzz": "-m benchmarks.photo_files fuzz 5000",
    "folder": "-m benchmarks.photo_folder",
}


def figures(said: dict[str, Any]) -> dict[str, Any]:
    """The figures of all parts under the names of their subjects."""
    return {
        **said["tiles"],
        "round_trips": said["round_trips"],
        "fuzz": said["fuzz"],
        **said["folder"],
    }


if __name__ == "__main__":
    gathered("photo", PARTS, figures, __doc__)
