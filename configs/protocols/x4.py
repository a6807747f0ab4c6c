"""Super-resolution by 4 as papers measure it: stored MATLAB-bicubic observations, luma, a border of 4 cut off, 8 bits.

    restore-jax evaluate MODEL --protocol configs/protocols/x4.py:Set5

`which` is Set5, Set14 or BSD100, folders below `root`. Bicubic interpolation has 28.43 dB on Set5.
"""

ROOT = "../shared/data/eval"
SETS = {
    "Set5": {"clean": "Set5/HR", "observed": "Set5/LR_bicubic/X4", "match": "{}x4"},
    "Set14": {"clean": "Set14/HR", "observed": "Set14/LR_bicubic/X4", "match": ""},
    "BSD100": {
        "clean": "BSD100/original_jpg",
        "observed": "BSD100/LR_bicubic/X4",
        "match": "{}_SRF_4_LR",
        "index": "BSD100/B100_index.txt",
    },
}


def get_config(which: str = "Set5", root: str = ROOT) -> dict:
    paths = {name: value if name == "match" else f"{root}/{value}" for name, value in SETS[which].items()}
    pairs = {"name": "data.sets.pairs.Pairs", "scale": 4, **paths}
    return {"pairs": pairs, "border_px": 4, "color": "luma"}
