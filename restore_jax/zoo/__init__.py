"""The shipped models: beside this file a folder each, `model.json` and `params.safetensors` (`methods.model`).

restore_jax.load("denoise")
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """What the models of a folder are called, in order; those that are shipped by default."""
    return tuple(sorted(card.parent.name for card in folder.glob("*/model.json")))
