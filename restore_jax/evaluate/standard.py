"""What papers measure, by two names: a set and a degradation make a `Protocol`.

    bicubic-x2, -x3, -x4    MATLAB's bicubic reduction: stored small pictures, or where there are none our own; luma,
                            a border of the scale cut off
    noise-15, -25, -50      white noise of that standard deviation on the scale to 255, clipped nowhere; RGB
    jpeg-10, -20, -30, -40  libjpeg at that quality, colour at half resolution; RGB, for grey pictures the grey levels
    stored                  what a set of real pairs was observed as (SIDD, GoPro, RealSR); RGB

The range of numbers is 1 and restorations are rounded to 8 bits. Every protocol is a stamp's worth of data: that of
`configs/protocols/x4.py:Set5` is `standard("Set5", "bicubic-x4", root)`.
"""

from typing import Any

from restore_jax.data.sets.standard import SETS, NoSet, StandardPairs
from restore_jax.evaluate.protocol import Protocol

SCALES, LEVELS, QUALITIES = (2, 3, 4), (15, 25, 50), (10, 20, 30, 40)
STORED = "stored"
DEGRADATIONS = (
    *(f"bicubic-x{scale}" for scale in SCALES),
    *(f"noise-{level}" for level in LEVELS),
    *(f"jpeg-{quality}" for quality in QUALITIES),
    STORED,
)


def standard(name: str, degradation: str = "", root: str = ".", seed: int = 0) -> Protocol:
    """The protocol of a set below the folder `root` under a degradation; a set of real pairs is as it is stored.

    Raises:
        ValueError: an unknown set or degradation, or one that does not go with the other.
        NoSet: the set is not below `root`; the message says where it was looked for.
    """
    if name not in SETS:
        raise ValueError(f"{name!r} is none of the standard sets: {', '.join(SETS)}.")
    degradation = degradation or (STORED if SETS[name].stored else "")
    if degradation not in DEGRADATIONS:
        raise ValueError(f"{degradation!r} is none of the standard degradations: {', '.join(DEGRADATIONS)}.")
    if (degradation == STORED) != bool(SETS[name].stored):
        wanted = STORED if SETS[name].stored else "one of the others"
        raise ValueError(f"{name} does not go with the degradation {degradation}: take {wanted}.")
    kind, _, number = degradation.partition("-")
    photographs = {"name": "data.sets.standard.Standard", "set": name, "root": root}
    if kind == "bicubic":
        return _reduced(name, int(number[1:]), root, photographs, seed)
    if kind == "noise":
        return Protocol(photographs, {"name": "degrade.noise.Gaussian", "std": int(number) / 255}, seed, multiple=1)
    if kind == "jpeg":
        return Protocol(photographs, {"name": "degrade.compress.Jpeg", "quality": float(number)}, seed, multiple=1)
    return Protocol(pairs={"name": "data.sets.standard.StandardPairs", "set": name, "root": root}, seed=seed)


def _reduced(name: str, scale: int, root: str, photographs: dict[str, Any], seed: int) -> Protocol:
    convention: dict[str, Any] = {"border_px": scale, "color": "luma", "seed": seed}
    pairs = {"name": "data.sets.standard.StandardPairs", "set": name, "root": root, "scale": scale}
    try:
        StandardPairs(name, root, scale)
    except NoSet:
        reduce = {"name": "degrade.downsample.Downsample", "scale": scale}
        as_file = {"name": "degrade.noise.Quantise", "bits": 8}
        steps = {"name": "degrade.chain.Chain", "steps": (reduce, as_file)}
        return Protocol(photographs, steps, multiple=scale, **convention)
    return Protocol(pairs=pairs, **convention)
