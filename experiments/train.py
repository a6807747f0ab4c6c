"""Trains a config, or goes on with it.

    python -m experiments.train --config configs/diffusion.py --workdir outputs/diffusion
    python -m experiments.train --config configs/diffusion.py --workdir outputs/long --config.images 200000

A config is a Python file with `get_config()`; every value in it can be overridden from the command line, and a
misspelt or mistyped override is refused. Ctrl-C saves; the same command goes on.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from restore_jax.build import SpecError
from restore_jax.memory import keep_freed_memory
from restore_jax.photo.read import PhotoError
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import Interrupted, train

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/<name>.py", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "where checkpoints, config and logs go")


def main(argv: list[str]) -> int:
    """0 when the run is complete, or when it was asked to stop and has saved; 1 with the reason otherwise."""
    if len(argv) > 1:
        raise app.UsageError(f"Not understood: {' '.join(argv[1:])}. Overrides read --config.images=1000.")
    keep_freed_memory()
    try:
        train(CONFIG.value, WORKDIR.value)
    except Interrupted as stopped:
        print(stopped.message)
    except (CheckpointError, FloatingPointError, PhotoError, SpecError, ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
