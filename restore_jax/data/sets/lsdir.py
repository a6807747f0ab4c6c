"""`Lsdir`: 84,991 photographs for training at scale, and 250 to validate with.

python -m restore_jax.data.sets.lsdir FOLDER --data_dir=~/tensorflow_datasets
"""

import re
from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pairs, pictures


class Lsdir(Prepared):
    """Shards `0001000` ... `0085000` of a thousand photographs to train on; `val1` to validate with."""

    CARD = Card(
        about="LSDIR: a large scale dataset for image restoration.",
        homepage="https://ofsoundof.github.io/lsdir-data/",
        licence="For research; the photographs remain their owners' (accept the terms on the homepage).",
        citation="Li et al.: LSDIR: A Large Scale Dataset for Image Restoration. CVPR Workshops 2023.",
        layout="0001000/0000001.png ... 0085000/0084991.png and val1/{HR,X2,X3,X4}/val/0000001{,x2,x3,x4}.png",
        configs={
            "hr": "The photographs alone.",
            **{f"x{n}": f"The validation photographs with the 1/{n} of each." for n in (2, 3, 4)},
        },
        photographs={"train": 84_991, "validation": 250},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """The numbered folders, which some unpack below `train`, and `val1`."""
        clean = folder / "val1" / "HR" / "val"
        if config != "hr":
            return {"validation": pairs(clean, folder / "val1" / config.upper() / "val", config)}
        root = folder / "train" if (folder / "train").is_dir() else folder
        shards = sorted(path for path in root.iterdir() if re.fullmatch(r"\d{7}", path.name))
        train = [Example(f"{shard.name}/{file.stem}", file) for shard in shards for file in pictures(shard)]
        return {"train": train, "validation": [Example(file.stem, file) for file in pictures(clean)]}


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Lsdir)
