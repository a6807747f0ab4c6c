"""Raw files: a real DNG beside LibRaw's own rendering, and what is refused."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.ops.camera import develop
from restore_jax.photo.raw import _read, read_dng
from restore_jax.photo.read import PhotoError


class FakeFile:
    """A 2 x 4 sensor: black 100, white 1100."""

    raw_pattern = np.array([[1, 0], [2, 3]])
    color_desc = b"RGBG"
    raw_image_visible = np.array([[100, 1100, 600, 350], [100, 100, 2100, 90]], np.uint16)
    black_level_per_channel = (100, 100, 100, 100)
    white_level = 1100
    camera_whitebalance = (0.0, 0.0, 0.0, 0.0)
    daylight_whitebalance = (4.0, 2.0, 3.0, 0.0)
    color_matrix = np.zeros((3, 4))
    rgb_xyz_matrix = np.concatenate([np.linalg.inv(np.eye(3) + 0.1), np.zeros((1, 3))])


def test_levels_pattern_and_balance():
    """Linear from black to white, nothing cut; daylight where the camera chose no balance, green counted as 1."""
    raw, camera = _read(FakeFile(), "fake")
    np.testing.assert_allclose(raw[..., 0], [[0, 1, 0.5, 0.25], [0, 0, 2, -0.01]], atol=1e-7)
    assert raw.dtype == np.float32
    assert (camera.pattern, camera.red_gain, camera.blue_gain) == ("grbg", 2.0, 1.5)
    np.testing.assert_allclose(np.sum(camera.ccm, axis=1), 1.0, atol=1e-5)


def test_only_bayer_mosaics_of_known_colours():
    class XTrans(FakeFile):
        raw_pattern = np.tile([[1, 0], [2, 1]], (3, 3))

    class Linear(FakeFile):
        raw_pattern = None

    class Unknown(FakeFile):
        rgb_xyz_matrix = np.zeros((4, 3))

    for file in (XTrans(), Linear()):
        with pytest.raises(PhotoError, match="fake: not a Bayer mosaic"):
            _read(file, "fake")
    with pytest.raises(PhotoError, match="fake: neither the file nor LibRaw states the colours"):
        _read(Unknown(), "fake")


def test_without_rawpy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImportError, match=r'pip install "restore-jax\[raw\]"'):
        read_dng("any.dng")


def test_missing_and_damaged_files(tmp_path):
    pytest.importorskip("rawpy")
    with pytest.raises(PhotoError, match="no such file"):
        read_dng(tmp_path / "nothing.dng")
    (tmp_path / "text.dng").write_text("not a raw file")
    with pytest.raises(PhotoError, match=r"text\.dng: not a readable raw file"):
        read_dng(tmp_path / "text.dng")


def test_a_real_dng_looks_as_libraw_renders_it(shared):
    """Without the tone curve it is LibRaw's linear pipeline, which differs in the demosaicing alone (AHD).

    Both reproduce flat patches. Over blocks of 17 x 17 pixels, where edges are few, colours agree within 1 of 255 on
    average, each channel by itself: a wrong white balance, matrix, level or curve shows as 5 and more. LibRaw itself
    cuts and rounds its light to 16 bits before demosaicing.
    """
    rawpy = pytest.importorskip("rawpy")
    path = shared / "data/eval/raw/colorchart.dng"
    raw, camera = read_dng(path)
    ours = np.asarray(jax.jit(lambda raw: develop(raw, camera, tone=False))(jnp.asarray(raw)))
    with rawpy.imread(str(path)) as file:
        libraw = file.postprocess(
            use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0.0, gamma=(2.4, 12.92), output_bps=16
        )
    blocks = [255 * x.reshape(68, 17, 102, 17, 3).mean(axis=(1, 3)) for x in (ours.astype(np.float64), libraw / 65535)]
    assert blocks[1].std(axis=(0, 1)).min() > 20  # there is a picture
    assert np.abs(blocks[0] - blocks[1]).mean(axis=(0, 1)).max() < 1
    assert np.abs((blocks[0] - blocks[1]).mean(axis=(0, 1))).max() < 0.5  # no cast
