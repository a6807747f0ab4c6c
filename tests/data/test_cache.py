"""Decoded photographs on disk: the same pixels, decoded once, whole or not at all."""

import os
import shutil
from collections import namedtuple
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from restore_jax.build import build, spec_of
from restore_jax.data.cache import Cached
from restore_jax.data.pipeline import Pipeline
from restore_jax.data.sets.folder import Folder
from restore_jax.photo.write import write

DECODED: list[int] = []


@dataclass(frozen=True)
class Made:
    """Noise of several sizes, which notes what was decoded and fails at number `fails`."""

    count: int = 5
    fails: int = -1
    seed: int = 0

    @cached_property
    def names(self):
        return tuple(f"{i}.png" for i in range(self.count))

    @property
    def stamps(self):
        return (self.seed,)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.fails:
            raise ValueError(f"{index}.png is damaged")
        DECODED.append(index)
        return np.random.default_rng((self.seed, index)).integers(0, 256, (20 + index, 31, 3), np.uint8)


@pytest.fixture(autouse=True)
def nothing_decoded():
    DECODED.clear()


def same(cached, source):
    assert len(cached) == len(source)
    for i in range(len(source)):
        np.testing.assert_array_equal(cached[i], source[i])


def test_the_photographs_decoded_once(tmp_path):
    cached = Cached(Made(), str(tmp_path / "new" / "folder"))
    assert cached.sizes == tuple((20 + i, 31) for i in range(5))
    assert DECODED == [0, 1, 2, 3, 4]
    again = Cached(Made(), str(tmp_path / "new" / "folder"))
    assert [photo.shape for photo in (again[0], again[-1])] == [(20, 31, 3), (24, 31, 3)]
    assert len(DECODED) == 5
    same(again, Made())
    with pytest.raises(IndexError):
        again[5]
    assert not [file for file in os.listdir(tmp_path / "new" / "folder") if "partial" in file]


def test_what_is_handed_out_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="read-only"):
        Cached(Made(), str(tmp_path))[0][0] = 1


def test_feeds_a_pipeline_the_same_batches(tmp_path):
    plain = Pipeline(Made(), 4, 16)
    cached = Pipeline(Cached(Made(), str(tmp_path)), 4, 16)
    for step in (0, 3):
        np.testing.assert_array_equal(plain[step], cached[step])
    assert cached.photos(2) == plain.photos(2)


def test_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    stopped = Cached(Made(fails=3), str(tmp_path))
    monkeypatch.setattr(Cached, "key", "KEY")  # one key, though one of the two fails
    with pytest.raises(ValueError, match=r"3\.png is damaged"):
        stopped[0]
    assert sorted(os.listdir(tmp_path)) == ["KEY.lock", "KEY.pixels.partial", "KEY.sizes.partial"]
    with open(tmp_path / "KEY.pixels.partial", "ab") as file:
        file.write(b"half a photograph")
    with open(tmp_path / "KEY.sizes.partial", "a") as file:
        file.write("23 3")
    DECODED.clear()
    same(Cached(Made(), str(tmp_path)), Made())
    assert DECODED[:2] == [3, 4]


def test_a_line_without_its_pixels_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(Cached, "key", "KEY")
    (tmp_path / "KEY.pixels.partial").write_bytes(b"\0" * 100)
    (tmp_path / "KEY.sizes.partial").write_text("20 31\n")
    same(Cached(Made(), str(tmp_path)), Made())


def test_another_source_has_another_key(tmp_path):
    keys = {Cached(source, "").key for source in (Made(), Made(count=4), Made(seed=1))}
    assert len(keys) == 3


def test_a_replaced_file_is_decoded_anew(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", Made()[i])
    spec = {"name": "data.cache.Cached", "source": {"name": "data.sets.folder.Folder", "path": str(tmp_path)}}
    cached = build({**spec, "folder": str(tmp_path / "cache")})
    assert build(spec_of(cached)) == cached
    same(cached, Made(2))
    write(tmp_path / "1.png", Made(seed=7)[1])
    os.utime(tmp_path / "1.png", ns=(1, 1))  # however coarse the file system's clock
    np.testing.assert_array_equal(build(spec_of(cached))[1], Made(seed=7)[1])


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos" / "0.png", Made()[0])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(OSError, match=r"decoded photographs take 0\.0 GB: choose another disk"):
        Cached(Folder(str(tmp_path / "photos")), str(tmp_path / "cache"))[0]


def test_a_cut_file_is_named(tmp_path):
    cached = Cached(Made(), str(tmp_path))
    _ = cached.sizes
    file = next(tmp_path.glob("*.pixels"))
    os.truncate(file, 100)
    with pytest.raises(OSError, match=r"\.pixels is not the .* bytes that its index tells of: delete .*\.json"):
        Cached(Made(), str(tmp_path))[0]
