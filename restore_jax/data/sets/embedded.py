"""`Embedded`: the photographs that scikit-image and scikit-learn carry; nothing is downloaded.

Sixteen pictures are too few to learn the look of the world from, and enough to show that a method
learns, to measure a change, and to run every example on a plane.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from restore_jax.photo.read import read, size


class Photo(NamedTuple):
    """A photograph, where it lies (package, path inside it), and whom to thank."""

    package: str
    path: str
    credit: str


MIDDLEBURY = "Scharstein et al., Middlebury Stereo 2014, carried by scikit-image"
# The licences are quoted from skimage/data/_fetchers.py and sklearn/datasets/images/README.txt.
# Left out: drawings, text and charts; `clock_motion`, which is blurred; `cell`, `microaneurysms` and
# `retina`, which are measurements, the last a black disc as large as half of all the others.
TRAIN = {
    "astronaut": Photo("skimage", "data/astronaut.png", "Eileen Collins; NASA, public domain"),
    "brick": Photo("skimage", "data/brick.png", "CC0Textures Bricks25, CC0"),
    "camera": Photo("skimage", "data/camera.png", "Lav Varshney, CC0"),
    "china": Photo("sklearn", "datasets/images/china.jpg", "danielbuechele on flickr, CC BY 2.0"),
    "coins": Photo("skimage", "data/coins.png", "Brooklyn Museum, no known copyright restrictions"),
    "flower": Photo("sklearn", "datasets/images/flower.jpg", "vultilion on flickr, CC BY 2.0"),
    "grass": Photo("skimage", "data/grass.png", "linolafett on DeviantArt, CC0"),
    "gravel": Photo("skimage", "data/gravel.png", "CC0Textures Gravel04, CC0"),
    "hubble_deep_field": Photo("skimage", "data/hubble_deep_field.jpg", "NASA, public domain"),
    "ihc": Photo("skimage", "data/ihc.png", "CMMI, no known copyright restrictions"),
    "moon": Photo("skimage", "data/moon.png", "carried by scikit-image without a note"),
    "motorcycle_left": Photo("skimage", "data/motorcycle_left.png", MIDDLEBURY),
    "motorcycle_right": Photo("skimage", "data/motorcycle_right.png", MIDDLEBURY),
}
HELDOUT = {
    "chelsea": Photo("skimage", "data/chelsea.png", "Stefan van der Walt, CC0"),
    "coffee": Photo("skimage", "data/coffee.png", "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0"),
    "rocket": Photo("skimage", "data/rocket.jpg", "SpaceX, public domain"),
}
SPLITS = {"train": TRAIN, "heldout": HELDOUT}


@dataclass(frozen=True)
class Embedded:
    """Photographs from inside installed packages: 13 to learn from, 3 natural ones in colour to measure on.

    The split is by scene and never changes: numbers on `heldout` compare across versions. A random-access
    source: `len(s)`, `s[i] -> uint8 h w 3`, `s.names`, `s.sizes`. Each `s[i]` decodes anew, in 2-20 ms.

    Raises:
        ValueError: an unknown split.
        FileNotFoundError: the package is not installed, or came without its pictures.
    """

    split: str = "train"

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"split is 'train' or 'heldout', not {self.split!r}.")
        for photo in SPLITS[self.split].values():
            _locate(photo)

    @property
    def names(self) -> tuple[str, ...]:
        """What the photographs are called."""
        return tuple(SPLITS[self.split])

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each, from the headers."""
        return tuple(size(_locate(photo)) for photo in SPLITS[self.split].values())

    @property
    def credits(self) -> tuple[str, ...]:
        """Whom to thank for each, with the licence."""
        return tuple(photo.credit for photo in SPLITS[self.split].values())

    def __len__(self) -> int:
        return len(SPLITS[self.split])

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return read(_locate(SPLITS[self.split][self.names[index]]))


def _locate(photo: Photo) -> Path:
    """The file of `photo`, found without importing its package (scikit-learn takes a second)."""
    spec = importlib.util.find_spec(photo.package)
    if spec is None or spec.origin is None:
        package = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[photo.package]
        raise FileNotFoundError(f"the package {package} is not installed: pip install {package}")
    path = Path(spec.origin).parent / photo.path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: install {photo.package} from its wheel, which has it.")
    return path


EXAMPLES = (
    {"name": "data.sets.embedded.Embedded", "split": "train"},
    {"name": "data.sets.embedded.Embedded", "split": "heldout"},
)
