import errno
import os
import stat

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.photo.read import read
from restore_jax.photo.write import to_uint8, write


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_every_level_survives_the_way_to_float_and_back(dtype):
    levels = np.arange(256, dtype=np.uint8)[:, None, None]
    np.testing.assert_array_equal(to_uint8((levels / 255).astype(dtype)), levels)
    np.testing.assert_array_equal(to_uint8(levels), levels)


def test_rounding_is_to_the_nearest_level_after_clipping():
    x = jnp.array([-1.0, 0.49 / 255, 0.51 / 255, 0.5, 254.4 / 255, 2.0, jnp.inf]).reshape(1, 1, -1)
    assert to_uint8(x).ravel().tolist() == [0, 0, 1, 128, 254, 255, 255]
    assert to_uint8(jnp.full((1, 1, 3), 0.5, jnp.bfloat16)).ravel().tolist() == [128] * 3


@pytest.mark.parametrize("x", [np.full((2, 2, 3), np.nan), np.zeros((2, 2, 3), np.int32)])
def test_what_has_no_level_is_refused(x):
    with pytest.raises(Exception, match=r"NaN|int32|to_uint8"):  # in tests the shape checker may come first
        to_uint8(x)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
def test_lossless_formats_give_the_same_levels_back(tmp_path, noise, suffix):
    write(tmp_path / f"x{suffix}", noise)
    np.testing.assert_array_equal(read(tmp_path / f"x{suffix}"), noise)
    write(str(tmp_path / f"y{suffix}"), jnp.asarray(noise / np.float32(255)))
    np.testing.assert_array_equal(read(tmp_path / f"y{suffix}"), noise)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_keeps_colour_edges(tmp_path, suffix):
    x = np.zeros((32, 32, 3), np.uint8)
    x[:, ::2, 0] = 255  # red and black lines one pixel wide: 4:2:0 would smear them to brown
    write(tmp_path / f"x{suffix}", x)
    assert np.abs(read(tmp_path / f"x{suffix}").astype(int) - x).mean() < 6


def test_unknown_suffix_lists_the_known_ones(tmp_path, noise):
    for name in ("x.heic", "x"):
        with pytest.raises(ValueError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
            write(tmp_path / name, noise)


def test_missing_folder(tmp_path, noise):
    with pytest.raises(FileNotFoundError, match="make it first"):
        write(tmp_path / "none" / "x.png", noise)


@pytest.fixture
def full_disk(monkeypatch):
    """Every flush to the disk fails as on a full one, after the bytes have gone out."""

    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)


def test_full_disk_leaves_what_was_there(tmp_path, noise, full_disk):
    path = tmp_path / "x.png"
    path.write_bytes(b"what was there")
    with pytest.raises(OSError, match="nothing was written") as error:
        write(path, noise)
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(path)
    assert path.read_bytes() == b"what was there"
    assert os.listdir(tmp_path) == ["x.png"]


def test_interrupt_leaves_nothing_half_written(tmp_path, noise, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "x.png", noise)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device(tmp_path, noise, monkeypatch):
    import builtins

    opened = builtins.open
    fake = lambda path, mode="r", *rest, **kw: (
        opened("/dev/full", "wb") if mode == "xb" else opened(path, mode, *rest, **kw)
    )
    monkeypatch.setattr(builtins, "open", fake)
    with pytest.raises(OSError, match="nothing was written") as error:
        write(tmp_path / "x.png", noise)
    assert error.value.errno == errno.ENOSPC


def test_overwrites_through_a_link_and_keeps_the_usual_permissions(tmp_path, noise):
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    write(target, noise)
    link.symlink_to(target)
    write(link, 255 - noise)
    assert link.is_symlink()
    np.testing.assert_array_equal(read(target), 255 - noise)
    (tmp_path / "usual").touch()
    mode = lambda path: stat.S_IMODE(path.stat().st_mode)
    assert mode(target) == mode(tmp_path / "usual")
