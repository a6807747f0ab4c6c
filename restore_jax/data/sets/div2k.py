"""`Div2k`: 900 photographs of 2K, the training set of super-resolution, with their published small versions.

python -m restore_jax.data.sets.div2k FOLDER --config=bicubic_x4 --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pairs, pictures

KINDS = {
    **{f"bicubic_x{n}": f"Pairs with the bicubic 1/{n} of each." for n in (2, 3, 4)},
    **{f"unknown_x{n}": f"Pairs with 1/{n} of each by an undisclosed operator." for n in (2, 3, 4)},
}


class Div2k(Prepared):
    """800 photographs to train on and 100 to validate with; the 100 of the test were never published."""

    CARD = Card(
        about="DIV2K: diverse photographs of 2K resolution from NTIRE 2017.",
        homepage="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        licence="For academic research only; the photographs remain their owners' (see the homepage).",
        citation="Agustsson and Timofte: NTIRE 2017 Challenge on Single Image Super-Resolution: Dataset and Study. "
        "CVPR Workshops 2017.",
        layout="DIV2K_{train,valid}_HR/0001.png and DIV2K_{train,valid}_LR_bicubic/X4/0001x4.png",
        configs={"hr": "The photographs alone.", **KINDS},
        photographs={"train": 800, "validation": 100},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """`DIV2K_train_*` and `DIV2K_valid_*`."""
        found = {}
        for split, word in (("train", "train"), ("validation", "valid")):
            clean = folder / f"DIV2K_{word}_HR"
            if config == "hr":
                found[split] = [Example(file.stem, file) for file in pictures(clean)]
            else:
                kind, scale = config.split("_")
                found[split] = pairs(clean, folder / f"DIV2K_{word}_LR_{kind}" / scale.upper(), scale)
        return found


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Div2k)
