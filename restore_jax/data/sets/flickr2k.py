"""`Flickr2k`: 2650 photographs of 2K that are added to DIV2K's for training.

python -m restore_jax.data.sets.flickr2k FOLDER --config=bicubic_x4 --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pairs, pictures

KINDS = {f"{kind}_x{n}": f"Pairs with 1/{n} of each, {kind}." for kind in ("bicubic", "unknown") for n in (2, 3, 4)}


class Flickr2k(Prepared):
    """One split, `train`."""

    CARD = Card(
        about="Flickr2K: photographs of 2K resolution from Flickr, collected for NTIRE 2017.",
        homepage="https://github.com/limbee/NTIRE2017",
        licence="None was given with the collection; the photographs remain their owners', under the terms each chose.",
        citation="Lim, Son, Kim, Nah and Lee: Enhanced Deep Residual Networks for Single Image Super-Resolution. "
        "CVPR Workshops 2017.",
        layout="Flickr2K_HR/000001.png and Flickr2K_LR_bicubic/X4/000001x4.png (the folder Flickr2K of Flickr2K.tar)",
        configs={"hr": "The photographs alone.", **KINDS},
        photographs={"train": 2650},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """`Flickr2K_HR`, and the folder of its observations."""
        clean = folder / "Flickr2K_HR"
        if config == "hr":
            return {"train": [Example(file.stem, file) for file in pictures(clean)]}
        kind, scale = config.split("_")
        return {"train": pairs(clean, folder / f"Flickr2K_LR_{kind}" / scale.upper(), scale)}


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Flickr2k)
