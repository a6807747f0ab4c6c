"""Planted errors: files of subtly different functions, and whether each is reported and the place named.

    python -m benchmarks.planted       printed as JSON; a minute

A padding, a form of GELU, an order of channels and an epsilon, in a TFLite file and in a Core ML package each:
"planted" files, "reported" by the bound of float32, "located" in the module where the error is
(`tests/export/planted.py`).
"""

import json
import tempfile
from pathlib import Path

from tqdm import tqdm

from restore_jax.export.coreml import to_coreml
from restore_jax.export.locate import divergence
from restore_jax.export.mil import CoreMLModel
from restore_jax.export.parity import agreement
from restore_jax.export.tflite import TFLiteModel, to_tflite
from tests.export.planted import BOUND, PLANTED, place, world, wrong


def main() -> None:
    """Plants and looks."""
    made = world()
    figures = {"planted": 0, "reported": 0, "located": 0}
    work = [(name, to) for name in PLANTED for to in ("tflite", "mlpackage")]
    for name, to in tqdm(work, desc="planted", unit="file"):
        net, places = PLANTED[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"net.{to}"
            if to == "tflite":
                to_tflite(wrong(made, net), path)
                model, shown = TFLiteModel(path), TFLiteModel(path, keep=True)
            else:
                to_coreml(wrong(made, net), path)
                model = shown = CoreMLModel(path)
            apart = agreement(made.graph, model, {"photograph": made.picture}).max_diff
            found = divergence(made.graph, shown.values(**made.picture), made.picture)
        figures["planted"] += 1
        figures["reported"] += apart > BOUND
        figures["located"] += found is not None and place(found) in places
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
