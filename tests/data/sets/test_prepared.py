"""What the builders of published sets share."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_jax.data.pipeline import Pipeline
from restore_jax.data.sets import prepared
from restore_jax.data.sets.div2k import Div2k
from restore_jax.data.sets.prepared import Prepared, clips, main, pairs, pictures, prepare
from restore_jax.data.sets.tfds import Tfds
from restore_jax.photo.read import PhotoError, read


def picture(path: Path, seed: int = 0, size: int = 8, width: int = 0) -> np.ndarray:
    """A made photograph at `path`, and its pixels, as read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, width or size + 2, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return read(path)


def records(builder: type[Prepared], folder: Path, config: str = "") -> dict[str, list[dict[str, object]]]:
    """Prepares a set as its command does, and reads every field of every example of every split."""
    data_dir = folder.parent / "prepared"
    name = prepare(builder, str(folder), config, str(data_dir))
    info = json.loads(next((data_dir / name).rglob("dataset_info.json")).read_text())
    assert info["fileFormat"] == "array_record"
    assert info["redistributionInfo"]["license"] == builder.CARD.licence
    assert info["citation"]
    found = {}
    for split in [split["name"] for split in info["splits"]]:
        examples = Tfds(name, split, str(data_dir))._records
        found[split] = [
            {k: read(v) if k in ("image", "observed") else v.decode() for k, v in e.items()} for e in examples
        ]
    return found


def names(examples: list[dict[str, object]]) -> list[object]:
    return [example["name"] for example in examples]


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in (1, 2):
        picture(tmp_path / "DIV2K_train_HR" / f"000{i}.png", i)
        picture(tmp_path / "DIV2K_train_LR_bicubic" / "X2" / f"000{i}x2.png", 10 + i, 4)
    return tmp_path


def test_the_command_says_what_is_there(folder, tmp_path, capsys):
    main(Div2k, [str(folder), "--config=bicubic_x2", f"--data_dir={tmp_path / 'out'}"])
    assert "div2k/bicubic_x2 train: 2 of the 800 that the complete set has" in capsys.readouterr().out
    assert "tensorflow" not in sys.modules
    source = Tfds("div2k/bicubic_x2", data_dir=str(tmp_path / "out"))
    assert Pipeline(source, 2, 4)[0].shape == (2, 4, 4, 3)


def test_stored_byte_for_byte(folder, tmp_path):
    name = prepare(Div2k, str(folder), "hr", str(tmp_path / "out"))
    stored = Tfds(name, data_dir=str(tmp_path / "out"))._records
    assert stored[1]["image"] == (folder / "DIV2K_train_HR" / "0002.png").read_bytes()


def test_again_leaves_it_as_it_is(folder, tmp_path):
    name = prepare(Div2k, str(folder), "hr", str(tmp_path / "out"))
    info = next((tmp_path / "out").rglob("dataset_info.json"))
    before = info.stat().st_mtime_ns
    assert prepare(Div2k, str(folder), "hr", str(tmp_path / "out")) == name
    assert info.stat().st_mtime_ns == before


def test_a_damaged_file_stops_it_and_nothing_is_left(folder, tmp_path):
    file = folder / "DIV2K_train_HR" / "0002.png"
    file.write_bytes(file.read_bytes()[:80])
    with pytest.raises(PhotoError, match=r"0002\.png: truncated"):
        prepare(Div2k, str(folder), "hr", str(tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match=r"restore_jax\.data\.sets\.div2k FOLDER --config=hr"):
        Tfds("div2k/hr", data_dir=str(tmp_path / "out"))


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"div2k has no config 'bicubic_x5'. Did you mean"):
        prepare(Div2k, str(folder), "bicubic_x5")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        prepare(Div2k, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"does not hold div2k/unknown_x2, which lies as DIV2K_"):
        prepare(Div2k, str(folder), "unknown_x2")
    (folder / "DIV2K_train_LR_bicubic" / "X2" / "0002x2.png").unlink()
    with pytest.raises(ValueError, match="lacks 0002x2, the observation of"):
        prepare(Div2k, str(folder), "bicubic_x2")
    with pytest.raises(FileNotFoundError, match="no layout was given"):
        Prepared.splits(folder, "")


def test_an_observation_larger_than_its_photograph(folder, tmp_path):
    picture(folder / "DIV2K_train_LR_bicubic" / "X2" / "0001x2.png", size=16)
    with pytest.raises(ValueError, match=r"0001x2\.png is larger than .*0001\.png"):
        prepare(Div2k, str(folder), "bicubic_x2", str(tmp_path / "out"))


def test_pairs_and_clips(tmp_path):
    for name in ("b/1", "a/0", "a/1"):
        picture(tmp_path / "x" / f"{name}.png")
        picture(tmp_path / "y" / f"{name}s.jpg")
    found = clips(pairs(tmp_path / "x", tmp_path / "y", "s"))
    assert [(e.name, e.clip, e.frame) for e in found] == [("a/0", "a", 0), ("a/1", "a", 1), ("b/1", "b", 0)]
    assert [e.observed.name for e in found] == ["0s.jpg", "1s.jpg", "1s.jpg"]
    (tmp_path / "x" / "b" / "1.png").unlink()
    with pytest.raises(ValueError, match="lacks b/1s, and 0 more"):
        pairs(tmp_path / "x", tmp_path / "y", "s")
    assert pictures(tmp_path / "none") == []
    assert pairs(tmp_path / "x", tmp_path / "none") == []


def test_help_has_the_card(capsys):
    with pytest.raises(SystemExit):
        main(Div2k, ["--help"])
    said = capsys.readouterr().out
    assert Div2k.CARD.licence in " ".join(said.split())
    assert "--config=bicubic_x4" in said


def test_beam_that_is_not_installed_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"pip install 'restore-jax\[beam\]'"):
        main(Div2k, [str(folder), "--data_dir", str(tmp_path / "out"), "--beam="])
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_beam_prepares_the_same_set(folder, tmp_path):
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    options = "--runner=DirectRunner --direct_running_mode=in_memory"
    for name, beam in (("plain", None), ("beam", options)):
        prepare(Div2k, str(folder), "bicubic_x2", str(tmp_path / name), beam)
    plain, beam = (Tfds("div2k/bicubic_x2", data_dir=str(tmp_path / name))._records for name in ("plain", "beam"))
    assert list(plain) == list(beam)


def test_a_record_is_the_bytes_of_its_files(folder):
    example = Div2k.found(folder, "bicubic_x2")["train"][0]
    number, record = prepared._record((7, example))
    assert number == 7
    assert isinstance(record["image"], io.BytesIO)
    assert record["name"] == "0001"
