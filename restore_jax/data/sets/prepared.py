"""`Prepared`: what the builders of published sets share; a set is a file beside this one.

    python -m restore_jax.data.sets.div2k DIV2K --config=bicubic_x4 --data_dir=~/tensorflow_datasets
    Tfds("div2k/bicubic_x4", "train", data_dir="~/tensorflow_datasets")

The archives are downloaded by hand, under their own terms, and unpacked; a set's file says where its pictures then lie
and which belong together. Every file is decoded once, so that nothing damaged gets in, and stored byte for byte, in the
order of the names, as ArrayRecord. Needs no TensorFlow. A set of many photographs is prepared by the processes of an
Apache Beam runner, of this machine or of a cluster (`--beam="--runner=DirectRunner --direct_running_mode=in_memory"`,
or the options of the cluster's; needs `pip install 'restore-jax[beam]'`).
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from restore_jax.build import did_you_mean
from restore_jax.data.sets.folder import Folder
from restore_jax.photo.read import read


class Card(NamedTuple):
    """What a set is, whose it is, and how it lies when its archives are unpacked."""

    about: str
    homepage: str
    licence: str
    citation: str
    layout: str
    configs: dict[str, str]
    """What can be prepared, each with a sentence; the first is the usual one."""
    photographs: dict[str, int]
    """How many the complete set has, by split."""


@dataclass
class Example:
    """A photograph, or a pair, by the files that hold it; frames of a clip follow one another."""

    name: str
    image: Path
    observed: Path | None = None
    clip: str = ""
    frame: int = 0


Splits = dict[str, list[Example]]


@dataclass(kw_only=True, eq=False)
class Unpacked(tfds.core.BuilderConfig):
    """Which of a card's configs, and the folder where the archives were unpacked."""

    folder: str = ""
    beam: bool = field(default=False)


class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Features `image` and `name`; `observed` in sets of pairs; `clip` and `frame` in sets of clips.

    A set defines `CARD` and `splits`. Its pairs are `(observed, image)`, as evaluation names them.
    """

    VERSION = tfds.core.Version("1.0.0")
    CARD: ClassVar[Card]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Not registered with TFDS, which has sets of its own by some of these names.
        super().__init_subclass__(skip_registration=True, **kwargs)

    @staticmethod
    def splits(folder: Path, config: str) -> Splits:
        """The examples of each split below `folder`; only splits that are there."""
        raise FileNotFoundError(f"no layout was given for {config} below {folder}.")

    @property
    def _unpacked(self) -> Unpacked:
        assert isinstance(self.builder_config, Unpacked)
        return self.builder_config

    @classmethod
    def found(cls, folder: Path, config: str) -> Splits:
        """`splits`, or an error that shows the layout that was looked for."""
        if config not in cls.CARD.configs:
            raise ValueError(f"{cls.name} has no config {config!r}.{did_you_mean(config, cls.CARD.configs)}")
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}: unpack {cls.CARD.homepage} there.")
        there = {split: examples for split, examples in cls.splits(folder, config).items() if examples}
        if not there:
            raise FileNotFoundError(f"{folder} does not hold {cls.name}/{config}, which lies as {cls.CARD.layout}")
        return there

    def _info(self) -> tfds.core.DatasetInfo:
        card, config = self.CARD, self._unpacked
        example = next(iter(self.found(Path(config.folder), config.name).values()))[0]
        features: dict[str, Any] = {"image": tfds.features.Image(), "name": tfds.features.Text()}
        if example.observed:
            features["observed"] = tfds.features.Image()
        if example.clip:
            features |= {"clip": tfds.features.Text(), "frame": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{card.about} {card.configs[config.name]}",
            features=tfds.features.FeaturesDict(features),
            homepage=card.homepage,
            citation=card.citation,
            license=card.licence,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        splits = self.found(Path(self._unpacked.folder), self._unpacked.name)
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(self, examples: list[Example]) -> Any:
        numbered = list(enumerate(examples))
        if not self._unpacked.beam:
            return map(_record, numbered)
        beam = _beam()
        return beam.Create(numbered) | beam.Map(_record)


def _record(numbered: tuple[int, Example]) -> tuple[int, dict[str, Any]]:
    """The stored form of an example: the bytes of its files, each of which can be decoded."""
    number, example = numbered
    record: dict[str, Any] = {"image": io.BytesIO(example.image.read_bytes()), "name": example.name}
    image = read(example.image)
    if example.observed:
        record["observed"] = io.BytesIO(example.observed.read_bytes())
        observed = read(example.observed)
        if any(small > large for small, large in zip(observed.shape, image.shape, strict=True)):
            raise ValueError(f"{example.observed} is larger than {example.image}, whose observation it should be.")
    if example.clip:
        record |= {"clip": example.clip, "frame": str(example.frame)}
    return number, record


def pictures(folder: Path) -> list[Path]:
    """The pictures below a folder in the order of their names; none where there is no folder."""
    try:
        return [folder / name for name in Folder(str(folder)).names]
    except (FileNotFoundError, ValueError):
        return []


def pairs(clean: Path, observed: Path, suffix: str = "") -> list[Example]:
    """The pictures of two folders, of which `a/b.png` in `clean` is `a/b{suffix}.*` in `observed`.

    Raises:
        ValueError: one without the other, where both folders are there.
    """
    partners = {file.relative_to(observed).with_suffix("").as_posix(): file for file in pictures(observed)}
    examples = []
    for file in pictures(clean) if partners else []:
        name = file.relative_to(clean).with_suffix("").as_posix()
        if name + suffix not in partners:
            raise ValueError(f"{observed} lacks {name + suffix}, the observation of {file}: unpack the archive anew.")
        examples.append(Example(name, file, partners.pop(name + suffix)))
    if partners:
        raise ValueError(
            f"{clean} lacks {next(iter(partners))}, and {len(partners) - 1} more: unpack the archive anew."
        )
    return examples


def clips(examples: list[Example]) -> list[Example]:
    """The examples with the folder of each as its clip, and its place in it as its frame."""
    places: dict[str, int] = {}
    for example in examples:
        example.clip = example.name.rpartition("/")[0]
        example.frame = places.setdefault(example.clip, 0)
        places[example.clip] += 1
    return examples


def prepare(builder: type[Prepared], folder: str, config: str = "", data_dir: str = "", beam: str | None = None) -> str:
    """Prepares the set in `data_dir` from the unpacked archives in `folder`; returns its name for `Tfds`.

    A set that is already there is left as it is: delete it to prepare it anew. `beam` are the options of an Apache Beam
    pipeline (an empty string: its own), by default none is used.

    Raises:
        FileNotFoundError: the folder does not hold the set; the message has the layout.
        ValueError: an unknown config; a pair of which one is missing.
        PhotoError: an unreadable picture; nothing is left half prepared.
        ImportError: Apache Beam is asked for and not installed.
    """
    config = config or next(iter(builder.CARD.configs))
    path = Path(folder).expanduser()
    builder.found(path, config)  # fail before TFDS makes folders
    options: dict[str, Any] = {}
    if beam is not None:
        options = {"beam_options": _beam().options.pipeline_options.PipelineOptions(beam.split())}
    builder(
        config=Unpacked(name=config, folder=str(path), beam=beam is not None),
        data_dir=str(Path(data_dir or "~/tensorflow_datasets").expanduser()),
        file_format="array_record",
    ).download_and_prepare(download_config=tfds.download.DownloadConfig(**options))
    return f"{builder.name}/{config}"


def main(builder: type[Prepared], argv: list[str] | None = None) -> None:
    """The command of a set's file."""
    card = builder.CARD
    parser = argparse.ArgumentParser(
        description=f"{card.about}\n\nhomepage: {card.homepage}\nlicence: {card.licence}\nlayout: {card.layout}\n\n"
        + "\n".join(f"--config={config}: {about}" for config, about in card.configs.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="where the archives were unpacked")
    parser.add_argument("--config", default=next(iter(card.configs)), help="what to prepare (%(default)s)")
    parser.add_argument("--data_dir", default="~/tensorflow_datasets", help="where the set goes (%(default)s)")
    parser.add_argument("--beam", metavar="OPTIONS", help="prepare with Apache Beam, with these pipeline options")
    args = parser.parse_args(argv)
    name = prepare(builder, args.folder, args.config, args.data_dir, args.beam)
    for line in _counted(builder.found(Path(args.folder).expanduser(), args.config), card):
        print(f"{name} {line}")  # noqa: T201


def _counted(splits: Splits, card: Card) -> Iterator[str]:
    for split, whole in card.photographs.items():
        yield f"{split}: {len(splits.get(split, ()))} of the {whole} that the complete set has"


def _beam() -> Any:
    try:
        import apache_beam
        import apache_beam.options.pipeline_options
    except ImportError as error:
        raise ImportError("--beam needs Apache Beam: pip install 'restore-jax[beam]'") from error
    return apache_beam


EXAMPLES = ()  # builders, not sources: read what they prepared with `Tfds`
