"""Colour denoising as papers measure it: white noise that is clipped nowhere on the 68 pictures of CBSD68, RGB.

    restore-jax evaluate MODEL --protocol configs/protocols/denoise.py:25

`which` is the standard deviation on the scale to 255. The noisy pictures have 20.54 dB at 25.
"""

ROOT = "../shared/data/eval"


def get_config(which: str = "25", root: str = ROOT) -> dict:
    photographs = {
        "name": "data.sets.pairs.Listed",
        "path": f"{root}/BSD100/original_jpg",
        "index": f"{root}/BSD100/CBSD68.txt",
    }
    noise = {"name": "degrade.noise.Gaussian", "std": float(which) / 255}
    return {"photographs": photographs, "degrade": noise, "multiple": 1}
