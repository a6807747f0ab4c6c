import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from restore_jax.data.sets.photo_folder import prepare
from restore_jax.data.sets.tfds import Tfds
from restore_jax.photo.read import PhotoError

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path) -> str:
    root = tmp_path / "photos"
    (root / "b").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "Brand of the camera"
    Image.fromarray(np.ascontiguousarray(PHOTO[::-1, ::-1])).save(root / "b" / "turned.png", exif=exif)
    Image.fromarray(PHOTO).save(root / "a.png")
    return str(root)


def test_prepares_without_tensorflow(folder, tmp_path):
    """In a process of its own, by the command that the page gives."""
    arguments = [folder, "holidays", f"--data_dir={tmp_path}"]
    code = f"""
import runpy, sys
sys.argv = ["photo_folder", *{arguments!r}]
runpy.run_module("restore_jax.data.sets.photo_folder", run_name="__main__")
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    source = Tfds("photo_folder/holidays", data_dir=str(tmp_path))
    for read in source:
        np.testing.assert_array_equal(read, PHOTO)
    assert [record["name"] for record in source._records] == [b"a.png", b"b/turned.png"]


def test_stores_the_picture_and_nothing_about_the_camera(folder, tmp_path):
    name = prepare(folder, "holidays", str(tmp_path))
    for path in (tmp_path / "photo_folder").rglob("*"):
        assert path.is_dir() or b"Brand" not in path.read_bytes()
    assert Tfds(name, data_dir=str(tmp_path))._records[1]["image"].startswith(b"\x89PNG")


def test_again_leaves_it_as_it_is(folder, tmp_path):
    name = prepare(folder, "holidays", str(tmp_path))
    info = next(tmp_path.rglob("dataset_info.json"))
    assert json.loads(info.read_text())["fileFormat"] == "array_record"
    before = info.stat().st_mtime_ns
    assert prepare(folder, "holidays", str(tmp_path)) == name
    assert info.stat().st_mtime_ns == before


def test_an_unreadable_photograph_stops_it_and_nothing_is_left(folder, tmp_path):
    (tmp_path / "photos" / "bad.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"bad\.png: the file is empty"):
        prepare(folder, "holidays", str(tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match="not prepared"):
        Tfds("photo_folder/holidays", data_dir=str(tmp_path / "out"))


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        prepare(str(tmp_path / "none"), "holidays", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
