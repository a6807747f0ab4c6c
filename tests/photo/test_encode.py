"""Samples as files: the generated matrix of round trips, and what formats cannot hold."""

import io
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.photo_files import cases, faults
from restore_jax.photo import exif, tiff
from restore_jax.photo.encode import SUFFIXES, kind_of, save
from restore_jax.photo.photo import open_photo
from restore_jax.photo.samples import PhotoWarning, Samples

for module in ("imagecodecs", "tifffile", "pillow_heif"):
    pytest.importorskip(module, reason=f"the matrix needs {module}")


@pytest.fixture
def rgb() -> Samples:
    return Samples(pixels=np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8), name="in.png")


def test_some_round_trips(tmp_path, monkeypatch):
    """One of 29 cases, with our readers; `soak` and the benchmark run all, with libvips and exiftool."""
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert list(faults(tmp_path, cases()[::29])) == []


@pytest.mark.soak
@pytest.mark.skipif(not (shutil.which("vips") and shutil.which("exiftool")), reason="needs libvips-tools and exiftool")
def test_all_round_trips(tmp_path):
    assert len(cases()) >= 200
    assert list(faults(tmp_path, cases())) == []


@pytest.mark.soak
def test_damaged_files_do_no_harm():
    from benchmarks.photo_fuzz import fuzz

    counts = fuzz(500)
    assert (counts["cases"], counts["crashes"], counts["hangs"], counts["half_written"]) == (500, 0, 0, 0), counts


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".avif", ".heic", ".tif"])
def test_every_format_takes_every_mode(rgb, suffix, tmp_path):
    """Grey, ink and Lab become sRGB where the format has no such mode: what is seen stays (lossy: within 6 levels)."""
    flat = np.full((64, 64, 4), 100, np.uint8)
    for mode, channels in (("L", 1), ("CMYK", 4), ("LAB", 3)):
        source = Samples(pixels=flat[..., :channels].copy(), mode=mode)
        save(tmp_path / f"x{suffix}", source)
        save(tmp_path / "x.tif", source)
        x, expected = open_photo(tmp_path / f"x{suffix}").x, open_photo(tmp_path / "x.tif").x
        assert np.abs(x - expected).max() < 6 / 255


def test_alpha_over_white(rgb, tmp_path):
    with pytest.warns(PhotoWarning, match=r"x\.jpg: JPEG holds no alpha"):
        save(tmp_path / "x.jpg", replace(rgb, alpha=np.zeros((16, 24), np.uint8)))
    assert open_photo(tmp_path / "x.jpg").pixels.min() > 250


def test_too_long_metadata_is_left_out_of_jpeg(rgb, tmp_path):
    with pytest.warns(PhotoWarning, match=r"in\.png: XMP is too long for JPEG"):
        save(tmp_path / "x.jpg", replace(rgb, xmp=b"x" * 70_000))
    assert open_photo(tmp_path / "x.jpg").xmp is None


def test_refusals(rgb, tmp_path):
    with pytest.raises(ValueError, match=r"x\.gif: cannot write \.gif; use \.jpg"):
        save(tmp_path / "x.gif", rgb)
    with pytest.raises(ValueError, match=r"save.quality is 1 to 100, not 0"):
        save(tmp_path / "x.jpg", rgb, quality=0)
    wide = Samples(pixels=np.zeros((1, 17_000, 3), np.uint8))
    with pytest.raises(ValueError, match=r"x\.webp: WEBP holds 16383 pixels a side, not 17000 x 1"):
        save(tmp_path / "x.webp", wide)
    with pytest.raises(FileNotFoundError, match="make it first"):
        save(tmp_path / "none" / "x.png", rgb)
    assert list(tmp_path.iterdir()) == []


def test_an_error_half_way_leaves_what_was_there(rgb, tmp_path, monkeypatch):
    from restore_jax.photo import png

    (tmp_path / "x.png").write_bytes(b"what was there")

    def fail(*_):
        raise RuntimeError("half way")

    monkeypatch.setattr(png.PngRows, "close", fail)
    with pytest.raises(RuntimeError, match="half way"):
        save(tmp_path / "x.png", rgb)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x.png", b"what was there")]


def test_every_suffix_has_a_kind():
    assert {kind_of(f"x{suffix.upper()}") for suffix in SUFFIXES} == set(SUFFIXES.values())


def test_thumbnail_shows_the_restored_photograph(rgb, tmp_path):
    """Where EXIF has a second directory, a camera's thumbnail, it has the white one of the restored photograph."""
    made = exif.created("camera")
    order, main = tiff.byte_order(made), tiff.directory(made, tiff.first(made))
    second = tiff.written({0x0103: tiff.packed(tiff.SHORT, (6,), order)}, len(made), order)
    block = made[: main.end - 4] + struct.pack(order + "I", len(made)) + made[main.end :] + second
    save(tmp_path / "x.jpg", replace(rgb, pixels=np.full((400, 300, 3), 255, np.uint8), exif=block))
    with Image.open(tmp_path / "x.jpg") as picture:
        found = picture.info["exif"][6:]
    records = tiff.directory(found, tiff.directory(found, tiff.first(found)).following).records
    place, length = (tiff.numbers(records[tag], order)[0] for tag in (exif.THUMBNAIL, exif.THUMBNAIL_BYTES))
    with Image.open(io.BytesIO(found[place : place + length])) as thumbnail:
        assert thumbnail.size == (120, 160)
        assert np.asarray(thumbnail).min() > 250
