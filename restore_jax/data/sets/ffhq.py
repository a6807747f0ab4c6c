"""`Ffhq`: 70,000 aligned faces of 1024 x 1024.

python -m restore_jax.data.sets.ffhq FOLDER --data_dir=~/tensorflow_datasets
"""

from pathlib import Path

from restore_jax.data.sets.prepared import Card, Example, Prepared, Splits, main, pictures

FIRST_OF_VALIDATION = 60_000  # as the set's own page divides it


class Ffhq(Prepared):
    """The first 60,000 to train on, the last 10,000 to validate with; published work often trains on all of them."""

    CARD = Card(
        about="FFHQ: Flickr-Faces-HQ, aligned and cropped faces.",
        homepage="https://github.com/NVlabs/ffhq-dataset",
        licence="CC BY-NC-SA 4.0 by NVIDIA; each photograph under the licence in ffhq-dataset-v2.json.",
        citation="Karras, Laine and Aila: A Style-Based Generator Architecture for Generative Adversarial Networks. "
        "CVPR 2019.",
        layout="images1024x1024/00000/00000.png ... images1024x1024/69000/69999.png, and thumbnails128x128 likewise",
        configs={"1024": "1024 x 1024 pixels.", "128": "The thumbnails of 128 x 128 pixels."},
        photographs={"train": 60_000, "validation": 10_000},
    )

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """Divided by number."""
        root = folder / {"1024": "images1024x1024", "128": "thumbnails128x128"}[config]
        faces = [Example(file.stem, file) for file in pictures(root)]
        early = [face for face in faces if int(face.name) < FIRST_OF_VALIDATION]
        return {"train": early, "validation": faces[len(early) :]}


EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`

if __name__ == "__main__":
    main(Ffhq)
