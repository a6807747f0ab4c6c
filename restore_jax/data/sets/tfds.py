"""`Tfds`: any TensorFlow Datasets set that was prepared as ArrayRecord, read without TensorFlow."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from tensorflow_datasets.core import read_only_builder, registered

from restore_jax.photo.read import read, size


@dataclass(frozen=True)
class Tfds:
    """The pictures under `feature` in `split` of `dataset` (`div2k/hr`, `div2k/bicubic_x4:1.0.0`).

    A random-access source: `len(s)`, `s[i] -> uint8 h w 3`, `s.names` (`div2k/hr/train/17`), `s.sizes`.
    `split` is a TFDS split: `train`, `train[:90%]`, `train+validation`. `data_dir` is where TFDS put the
    set, by default `~/tensorflow_datasets`. Only the files are read: no network, and no code of the set.

    Raises:
        FileNotFoundError: the set was not prepared there; the message has the command.
        ValueError: an unknown split or feature, a feature that is no image, or another file format.
    """

    dataset: str
    split: str = "train"
    data_dir: str | None = None
    feature: str = "image"

    def __post_init__(self):
        _ = self._records

    @cached_property
    def _builder(self) -> Any:
        try:
            return read_only_builder.builder_from_files(self.dataset, data_dir=self.data_dir)
        except registered.DatasetNotFoundError as error:
            where = self.data_dir or "~/tensorflow_datasets"
            raise FileNotFoundError(f"{self.dataset} is not prepared in {where}: {self._remedy}") from error

    @cached_property
    def _records(self) -> Any:
        builder = self._builder
        images = [k for k, v in builder.info.features.items() if isinstance(v, tfds.features.Image)]
        if self.feature not in images:
            there = f"image features: {', '.join(images) or 'none'}"
            raise ValueError(f"{self.dataset} has no image feature {self.feature!r}; {there}.")
        # The encoded bytes, so that our own reader sees to profiles, 16 bits and damage.
        decoders = {image: tfds.decode.SkipDecoding() for image in images}
        try:
            return builder.as_data_source(self.split, decoders=decoders)
        except NotImplementedError as error:
            raise ValueError(f"{self.dataset} is not prepared as ArrayRecord: {self._remedy}") from error
        except ValueError as error:
            splits = ", ".join(builder.info.splits)
            raise ValueError(f"{self.dataset} has no split {self.split!r}; splits: {splits}.") from error

    @property
    def _remedy(self) -> str:
        data_dir = self.data_dir or "~/tensorflow_datasets"
        if self.dataset.startswith("photo_folder/"):
            title = self.dataset.removeprefix("photo_folder/")
            return f"run `python -m restore_jax.data.sets.photo_folder FOLDER {title} --data_dir={data_dir}`."
        title, _, config = self.dataset.partition(":")[0].partition("/")
        if Path(__file__).with_name(f"{title}.py").is_file():  # ours too
            config = f" --config={config.partition('/')[0]}" if config else ""
            return f"run `python -m restore_jax.data.sets.{title} FOLDER{config} --data_dir={data_dir}`."
        command = f"`tfds build {self.dataset} --file_format=array_record --data_dir={data_dir}`"
        return f"run {command}, which needs `pip install 'restore-jax[prepare]'`."

    @property
    def stamps(self) -> tuple[tuple[str, int, int], ...]:
        """Name, bytes and time of change of the files of the set."""
        files = sorted(file for file in Path(self._builder.data_path).iterdir() if file.is_file())
        return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)

    @property
    def names(self) -> tuple[str, ...]:
        """`dataset/split/number`: TFDS gives its examples no names."""
        return tuple(f"{self.dataset}/{self.split}/{i}" for i in range(len(self)))

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each. Reads every record once, undecoded: the whole set passes by."""
        return tuple(size(self._bytes(i), self._name(i)) for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        return read(self._bytes(index), self._name(index))

    def _bytes(self, index: int) -> bytes:
        number = range(len(self))[index]  # raises the IndexError that ends a loop
        return self._records[number][self.feature]

    def _name(self, index: int) -> str:
        return f"{self.dataset}/{self.split}/{index}"


EXAMPLES = ()  # needs a prepared set
