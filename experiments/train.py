"""Trains a config, or goes on with it.

    python -m experiments.train --config configs/diffusion.py --workdir outputs/diffusion
    python -m experiments.train --config configs/diffusion.py --workdir outputs/long --config.images 200000

    python -m experiments.train --config configs/diffusion.py --workdir outputs/diffusion --profile 10

A config is a Python file with `get_config()`; every value in it can be overridden from the command line, and a
misspelt or mistyped override is refused. Ctrl-C saves; the same command goes on. --profile N traces N dispatches into
WORKDIR/profile. Several processes are one run: docs/hosts.md.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from restore_jax.build import SpecError
from restore_jax.cpu import prepare
from restore_jax.photo.read import PhotoError
from restore_jax.train import processes
from restore_jax.train.checkpoint import CheckpointError
from restore_jax.train.loop import train
from restore_jax.train.stop import Interrupted

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/<name>.py", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "where checkpoints, config and logs go")
PROFILE = flags.DEFINE_integer("profile", 0, "dispatches to trace into WORKDIR/profile", lower_bound=0)
MIGRATE = flags.DEFINE_bool("migrate", False, "take what fits of a checkpoint of another config or layout")
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, where no cluster says it")
PROCESSES = flags.DEFINE_integer("processes", 0, "how many processes make this run", lower_bound=0)
PROCESS = flags.DEFINE_integer("process", -1, "the number of this one, from 0")


def main(argv: list[str]) -> int:
    """0 when the run is complete, or when it was asked to stop and has saved; 1 with the reason otherwise."""
    if len(argv) > 1:
        raise app.UsageError(f"Not understood: {' '.join(argv[1:])}. Overrides read --config.images=1000.")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells each move of each checkpoint, between the lines of the bar
    prepare()
    try:
        processes.start(COORDINATOR.value, PROCESSES.value, PROCESS.value)
        train(CONFIG.value, WORKDIR.value, profile=PROFILE.value, migrate=MIGRATE.value)
    except Interrupted as stopped:
        if processes.is_writer():
            print(stopped.message)
    except (CheckpointError, FloatingPointError, ImportError, PhotoError, SpecError, ValueError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
