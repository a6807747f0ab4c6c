import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.data.pipeline import Pipeline
from restore_jax.data.sets.photo_folder import prepare
from restore_jax.data.sets.tfds import Tfds
from restore_jax.photo.write import write

PHOTOS = [np.random.default_rng(i).integers(0, 256, (30 + i, 40, 3), dtype=np.uint8) for i in range(5)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> str:
    folder, data_dir = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("tfds")
    for i, photo in enumerate(PHOTOS):
        write(folder / f"{i}.png", photo)
    prepare(str(folder), "made", str(data_dir))
    return str(data_dir)


def test_reads_every_photograph(data_dir):
    source = Tfds("photo_folder/made", data_dir=data_dir)
    assert build(spec_of(source)) == source
    assert len(source) == 5
    assert source.names[4] == "photo_folder/made/train/4"
    assert source.sizes == tuple(photo.shape[:2] for photo in PHOTOS)
    for read, photo in zip(source, PHOTOS, strict=True):
        np.testing.assert_array_equal(read, photo)
    with pytest.raises(IndexError):
        source[5]


def test_reads_parts_of_a_split(data_dir):
    source = Tfds("photo_folder/made", "train[60%:]", data_dir)
    assert len(source) == 2
    np.testing.assert_array_equal(source[0], PHOTOS[3])


def test_stamps_are_those_of_the_files_of_the_set(data_dir):
    stamps = Tfds("photo_folder/made", data_dir=data_dir).stamps
    assert any("array_record" in name for name, _, _ in stamps)
    for name, size, changed in stamps:
        (file,) = Path(data_dir).rglob(name)
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (size, changed)


def test_feeds_a_pipeline(data_dir):
    pipeline = Pipeline(Tfds("photo_folder/made", data_dir=data_dir), batch_size=4, crop_px=16)
    iterator = pipeline.iterator()
    np.testing.assert_array_equal(next(iterator), pipeline[0])
    iterator.close()


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        (
            {"dataset": "oxford_iiit_pet"},
            FileNotFoundError,
            "run `tfds build oxford_iiit_pet --file_format=array_record --data_dir=",
        ),
        (
            {"dataset": "div2k/hr:1.0.0"},
            FileNotFoundError,
            r"run `python -m restore_jax\.data\.sets\.div2k FOLDER --config=hr --data_dir=",
        ),
        ({"dataset": "photo_folder/none"}, FileNotFoundError, r"photo_folder FOLDER none --data_dir="),
        ({"dataset": "photo_folder/made", "split": "test"}, ValueError, "no split 'test'; splits: train"),
        ({"dataset": "photo_folder/made", "feature": "hr"}, ValueError, "image features: image"),
        ({"dataset": "photo_folder/made", "feature": "name"}, ValueError, "no image feature 'name'"),
    ],
)
def test_what_is_not_there_is_named(data_dir, fields, error, says):
    with pytest.raises(error, match=says):
        Tfds(**fields, data_dir=data_dir)


def test_reading_imports_no_tensorflow_and_opens_no_socket(data_dir):
    code = f"""
import socket, sys
def refuse(*_, **__): raise AssertionError("the network")
socket.socket.connect = socket.getaddrinfo = refuse
from restore_jax.data.sets.tfds import Tfds
assert Tfds("photo_folder/made", data_dir={data_dir!r})[0].shape == (30, 40, 3)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
