"""A training run becomes a model: its averaged parameters, and what a stranger must know to trust them.

model = pack("outputs/zoo/denoise", task="denoise", licence="CC0-1.0")
write_model("restore_jax/zoo/denoise", model)
"""

from pathlib import Path

from restore_jax import __version__
from restore_jax.build import build, spec_of
from restore_jax.methods.model import UNKNOWN, Model
from restore_jax.train.checkpoint import read
from restore_jax.train.lineage import trained
from restore_jax.train.record import table

POINTS = 40  # of a curve


def pack(
    workdir: str | Path, task: str = "", licence: str = UNKNOWN, source: str = UNKNOWN, credits: str = ""
) -> Model:
    """The model that a run has learned so far.

    Its provenance is the run's: config (as a hash), commit, images seen, seconds, devices, and what it started from
    with all that was seen before; so are its damage and its curve, the loss that the run logged. `source` says what
    photographs it was trained on, `licence` and `credits` under which terms and thanks to whom.

    Raises:
        CheckpointError: the folder holds no checkpoint.
        ValueError: the run's method has no net that could be told by its parameters.
    """
    config, state, step = read(workdir)
    method, params = build(config["method"], "config.method"), state["ema"]
    if "generator" in params:  # of two players the one that restores
        method, params = getattr(method, "generator", method), params["generator"]
    spec = spec_of(method)
    if "net" not in spec:
        raise ValueError(f"{workdir} trained a {spec['name']}, which has no single net to pack.")
    provenance = {
        **trained(Path(workdir), config, step),
        "source": source,
        "licence": licence,
        "credits": credits,
        "restore_jax": __version__,
    }
    degrade = spec_of(build(config["degrade"], "config.degrade"))
    return Model(spec, params, 3, provenance, task, degrade=degrade, curve=_curve(Path(workdir)))


def _curve(workdir: Path) -> tuple[tuple[int, float], ...]:
    """At most `POINTS` points `(images, loss)`, each the mean of as many rows of the table."""
    rows = [row for row in table(workdir) if "loss" in row]
    size = -(-len(rows) // POINTS) or 1
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return tuple((int(part[-1]["images"]), round(sum(r["loss"] for r in part) / len(part), 6)) for part in parts)
