"""Super-resolution by 4 as papers measure it: stored MATLAB-bicubic observations, luma, a border of 4 cut off, 8 bits.

    restore-jax evaluate MODEL --protocol configs/protocols/x4.py:Set5

`which` is a standard set that lies below `root` with its observations. Bicubic interpolation has 28.43 dB on Set5. The
same protocol, with the same stamp: restore-jax evaluate MODEL --data ROOT --set Set5 --degradation bicubic-x4.
"""

ROOT = "../shared/data/eval"
SETS = ("Set5", "Set14", "BSD100")


def get_config(which: str = "Set5", root: str = ROOT) -> dict:
    pairs = {"name": "data.sets.standard.StandardPairs", "set": which, "root": root, "scale": 4}
    return {"pairs": pairs, "border_px": 4, "color": "luma"}
