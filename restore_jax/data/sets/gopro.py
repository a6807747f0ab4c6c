"""`Gopro`: frames of a fast camera, and the motion blur of their means.

python -m restore_jax.data.sets.gopro FOLDER --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Prepared, Splits, clips, main, pairs


class Gopro(Prepared):
    """22 clips to train on and 11 to test with, as pairs; `clip` and `frame` say which."""

    CARD = Card(
        about="GOPRO_Large: pairs of blurred and sharp frames.",
        homepage="https://seungjunnah.github.io/Datasets/gopro",
        licence="CC BY 4.0",
        citation="Nah, Kim and Lee: Deep Multi-Scale Convolutional Neural Network for Dynamic Scene Deblurring. "
        "CVPR 2017.",
        layout="{train,test}/GOPR0372_07_00/{blur,blur_gamma,sharp}/000047.png",
        configs={
            "blur_gamma": "Blur in linear light, with the curve of the camera taken as a power.",
            "blur": "Blur of the values as stored.",
        },
        photographs={"train": 2103, "test": 1111},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """The clips of each split, each with a folder of sharp frames and one of blurred ones."""
        found: Splits = {}
        for split in ("train", "test"):
            found[split] = []
            for clip in sorted((folder / split).iterdir()) if (folder / split).is_dir() else ():
                examples = pairs(clip / "sharp", clip / config)
                for example in examples:
                    example.name = f"{clip.name}/{example.name}"
                found[split] += clips(examples)
        return found


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Gopro)
