"""`Reds`: clips of 720p of which the blurred, small and compressed versions were published.

python -m restore_jax.data.sets.reds FOLDER --config=blur --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, clips, main, pairs, pictures

OBSERVED = {"blur": "", "blur_jpeg": "", "blur_comp": "", "sharp_bicubic": "X4", "blur_bicubic": "X4"}


class Reds(Prepared):
    """240 clips to train on and 30 to validate with, of 100 frames; the sharp frames of the test were not published."""

    CARD = Card(
        about="REDS: realistic and dynamic scenes, clips of 100 frames of 1280 x 720.",
        homepage="https://seungjunnah.github.io/Datasets/reds",
        licence="CC BY 4.0",
        citation="Nah et al.: NTIRE 2019 Challenge on Video Deblurring and Super-Resolution: Dataset and Study. "
        "CVPR Workshops 2019.",
        layout="{train,val}/{train,val}_{sharp,blur,blur_jpeg,blur_comp}/000/00000000.png and "
        "{train,val}/{train,val}_{sharp,blur}_bicubic/X4/000/00000000.png",
        configs={
            "sharp": "The sharp frames alone.",
            "blur": "Pairs with motion blur.",
            "blur_jpeg": "Pairs with motion blur, stored as JPEG.",
            "blur_comp": "Pairs with motion blur and the compression of MPEG.",
            "sharp_bicubic": "Pairs with the bicubic 1/4.",
            "blur_bicubic": "Pairs with the bicubic 1/4 of motion blur.",
        },
        photographs={"train": 24_000, "validation": 3_000},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """`train/train_*` and `val/val_*`, as the archives unpack; also without the outer folder."""
        found = {}
        for split, word in (("train", "train"), ("validation", "val")):
            root = folder / word if (folder / word).is_dir() else folder
            clean = root / f"{word}_sharp"
            if config == "sharp":
                names = [(file.relative_to(clean).with_suffix("").as_posix(), file) for file in pictures(clean)]
                found[split] = clips([Example(name, file) for name, file in names])
            else:
                found[split] = clips(pairs(clean, root / f"{word}_{config}" / OBSERVED[config]))
        return found


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Reds)
