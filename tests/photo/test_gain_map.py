"""HDR gain maps: carried byte for byte, found again by others, and left out where they no longer fit."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from restore_jax.photo import gain_map
from restore_jax.photo.photo import open_photo, save_photo
from restore_jax.photo.samples import PhotoWarning

HDRGM = b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'


def jpeg(level: int, size=(16, 24), **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()


def test_joined_is_found_again():
    first, second = jpeg(200), jpeg(50, (8, 12), xmp=HDRGM)
    both = gain_map.joined(first, second)
    assert gain_map.extras(both) == {"gain_map": second}
    with Image.open(io.BytesIO(both)) as picture:  # by Pillow's own reading of MPF
        assert (picture.format, picture.n_frames) == ("MPO", 2)
        picture.seek(1)
        assert picture.size == (12, 8)


def test_it_goes_with_the_restored_photograph(tmp_path):
    second = jpeg(50, (8, 12), xmp=HDRGM)
    (tmp_path / "in.jpg").write_bytes(gain_map.joined(jpeg(200), second))
    photo = open_photo(tmp_path / "in.jpg")
    assert photo.format == "JPEG"
    save_photo(tmp_path / "out.jpg", photo.restored(np.repeat(np.repeat(photo.x, 2, 0), 2, 1)))
    assert gain_map.extras((tmp_path / "out.jpg").read_bytes())["gain_map"] == second
    with pytest.warns(PhotoWarning, match="PNG holds no HDR gain map"):
        save_photo(tmp_path / "out.png", photo)


def test_turned_it_is_left_out_aloud(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in.jpg").write_bytes(gain_map.joined(jpeg(200, exif=exif), jpeg(50, xmp=HDRGM)))
    with pytest.warns(PhotoWarning, match=r"in\.jpg: the HDR gain map is left out"):
        assert "gain_map" not in open_photo(tmp_path / "in.jpg").extras


def test_other_second_pictures_are_not_carried():
    """A preview would show the photograph as it was."""
    assert gain_map.extras(gain_map.joined(jpeg(200), jpeg(50))) == {}


def test_iptc_is_carried(tmp_path):
    segment = b"\xff\xed\x00\x14" + gain_map.IPTC + b"8BIM"
    data = jpeg(200)
    (tmp_path / "in.jpg").write_bytes(data[:2] + segment + data[2:])
    save_photo(tmp_path / "out.jpg", open_photo(tmp_path / "in.jpg"))
    assert segment in (tmp_path / "out.jpg").read_bytes()


def test_damaged_indices_are_passed_over():
    both = gain_map.joined(jpeg(200), jpeg(50, xmp=HDRGM))
    at, rng = both.index(gain_map.MPF), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(both)
        damaged[at + int(rng.integers(4, 80))] = int(rng.integers(256))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gain_map.extras(bytes(damaged))
    assert gain_map.extras(both[:30]) == gain_map.extras(b"") == {}
