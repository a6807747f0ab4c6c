"""Colour denoising as papers measure it: white noise that is clipped nowhere on the 68 pictures of CBSD68, RGB.

    restore-jax evaluate MODEL --protocol configs/protocols/denoise.py:25

`which` is the standard deviation on the scale to 255. The noisy pictures have 20.54 dB at 25. The same protocol, with
the same stamp: restore-jax evaluate MODEL --data ROOT --set CBSD68 --degradation noise-25.
"""

ROOT = "../shared/data/eval"


def get_config(which: str = "25", root: str = ROOT) -> dict:
    photographs = {"name": "data.sets.standard.Standard", "set": "CBSD68", "root": root}
    noise = {"name": "degrade.noise.Gaussian", "std": float(which) / 255}
    return {"photographs": photographs, "degrade": noise, "multiple": 1}
