"""Measures a trained run on its held-out photographs, under the degradation it was trained for.

    python -m experiments.evaluate --config configs/diffusion.py --workdir outputs/diffusion

Prints one row a photograph and their mean, and writes them with the whole protocol to WORKDIR/evaluation.json.
`--config.degrade...` and `--config.heldout_set...` measure elsewhere; the stamp says so.
"""

import json
import os
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags
from tqdm import tqdm

from restore_jax.build import SpecError
from restore_jax.cpu import prepare
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.run import evaluate
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.photo.read import PhotoError
from restore_jax.train.checkpoint import CheckpointError

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/<name>.py", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "the workdir of a training run")
TILE = flags.DEFINE_integer("tile_px", 128, "side of a tile, in pixels of y")
OVERLAP = flags.DEFINE_integer("overlap_px", 24, "overlap of tiles, in pixels of y")


def main(argv: list[str]) -> int:
    """0 when every photograph was measured; 1 with the reason otherwise."""
    del argv
    prepare()
    config = CONFIG.value.to_dict()
    try:
        restorer = Tile(load(WORKDIR.value), TILE.value, OVERLAP.value)
        protocol = Protocol(config["heldout_set"], config["degrade"], multiple=restorer.scale)
        with tqdm(desc="evaluate", unit="photo", total=len(protocol.cases)) as bar:
            rows = evaluate(restorer, protocol, progress=lambda done, total: bar.update())
    except (CheckpointError, PhotoError, SpecError, ValueError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    for row in rows:
        print("{photograph:<20} {psnr:7.3f} dB  SSIM {ssim:.4f}".format(**row))
    path = Path(WORKDIR.value) / "evaluation.json"
    partial = path.with_suffix(".partial")
    tiles = {"tile_px": TILE.value, "overlap_px": OVERLAP.value}
    partial.write_text(json.dumps({"rows": rows, "protocol": protocol.stamp() | tiles}, indent=1))
    os.replace(partial, path)
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
