"""`PhotoFolder`: a folder of photographs, prepared once as a TFDS set in ArrayRecord files.

    python -m restore_jax.data.sets.photo_folder ~/pictures holidays --data_dir ~/tensorflow_datasets
    Tfds("photo_folder/holidays", data_dir="~/tensorflow_datasets")

Worth its while for many small files on a slow or remote disk; otherwise read the folder with `Folder`.
Photographs are stored upright, in sRGB, as PNG: lossless, larger than JPEG, and free of whatever else the
files told (where and when they were taken, with what).
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from restore_jax.data.sets.folder import Folder


@dataclass(kw_only=True, eq=False)
class Photographs(tfds.core.BuilderConfig):
    """Which folder, under which `name`."""

    folder: str = ""


class PhotoFolder(tfds.core.GeneratorBasedBuilder):
    """One split, `train`, in the order of the file names; features `image` (uint8 h w 3) and `name`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(encoding_format="png"), "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        assert isinstance(self.builder_config, Photographs)
        return {"train": self._generate_examples(Folder(self.builder_config.folder))}

    def _generate_examples(self, photos: Folder) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, name in enumerate(photos.names):
            png = io.BytesIO()
            Image.fromarray(photos[i]).save(png, "PNG")
            png.seek(0)
            yield i, {"image": png, "name": name}  # encoded here: TFDS encodes arrays with TensorFlow


def prepare(folder: str, name: str, data_dir: str) -> str:
    """Prepares `folder` as `photo_folder/{name}` in `data_dir`, and returns that name, for `Tfds`.

    Needs no TensorFlow. A set that is already there is left as it is: delete it to prepare it anew. Costs
    one decoding and one PNG encoding a photograph, about 0.3 s for 4 megapixels.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as `Folder`.
        PhotoError: an unreadable photograph; nothing is left half prepared.
    """
    photos = Folder(str(Path(folder).expanduser()))  # fail before TFDS makes folders
    builder = PhotoFolder(
        config=Photographs(name=name, folder=photos.path),
        data_dir=str(Path(data_dir).expanduser()),
        file_format="array_record",
    )
    builder.download_and_prepare()
    return f"photo_folder/{name}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prepare a folder of photographs as a TFDS set.")
    parser.add_argument("folder", help="the folder, read recursively")
    parser.add_argument("name", help="what the set is called: photo_folder/NAME")
    parser.add_argument("--data_dir", default="~/tensorflow_datasets", help="where the set goes")
    prepare(**vars(parser.parse_args()))

EXAMPLES = ()  # a builder, not a source: read what it prepared with `Tfds`
