"""What a run has seen, and what was seen before it by what it started from, in words for a card.

Noted in `run.json` when a run first starts: what it started from may be gone later, or another by the same name.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from restore_jax.methods.model import UNKNOWN, ModelError, is_model, located, read_model
from restore_jax.train.checkpoint import CheckpointError, read


def trained(workdir: Path, config: dict[str, Any], step: int) -> dict[str, str]:
    """Of a run: config (as a hash), commit, images, side of the crops, seconds, devices, date, and what was before."""
    path = workdir / "run.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    begun = record["starts"][-1] if record.get("starts") else {}
    return {
        "config": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12],
        "commit": begun.get("commit") or UNKNOWN,
        "images": str(step * config["batch_size"]),
        "crop_px": str(config["crop_px"]),
        "seconds": f"{record.get('seconds', 0.0):.0f}",
        "devices": begun.get("devices") or UNKNOWN,
        "date": str(begun.get("time", UNKNOWN))[:10],
        **record.get("before", {}),
    }


def seen_before(start: str) -> dict[str, str]:
    """What a run starts from: its name, and the images and seconds of it and of what it started from in turn."""
    if not start:
        return {}
    path = located(start)
    try:
        if is_model(path):
            said = read_model(path).provenance
        else:
            config, _, step = read(path)
            said = trained(path, config, step)
    except (CheckpointError, ModelError):  # the run that is to start says so in its own words
        return {"start": path.name}
    total = {name: int(said.get(name, 0)) + int(said.get(f"start_{name}", 0)) for name in ("images", "seconds")}
    return {"start": path.name, **{f"start_{name}": str(number) for name, number in total.items()}}
