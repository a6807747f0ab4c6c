"""A set and a degradation make the protocol that papers mean."""

import numpy as np
import pytest

from configs.protocols import denoise, x4
from restore_jax.data.sets.standard import NoSet
from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.standard import DEGRADATIONS, standard
from restore_jax.photo.write import write


@pytest.fixture
def root(tmp_path):
    """Two grey photographs as Set5 and as CBSD68, the first with small pictures of it by 4."""
    rng = np.random.default_rng(0)
    for folder in ("Set5/HR", "Set5/LRbicx4", "CBSD68"):
        (tmp_path / folder).mkdir(parents=True)
        side = 12 if "LR" in folder else 48
        for name in ("a.png", "b.png"):
            write(tmp_path / folder / name, rng.integers(0, 256, (side, side, 1), np.uint8).repeat(3, 2))
    return str(tmp_path)


def test_the_configs_are_the_same_protocols(root):
    assert standard("Set5", "bicubic-x4", root).stamp() == Protocol(**x4.get_config("Set5", root)).stamp()
    assert standard("CBSD68", "noise-25", root).stamp() == Protocol(**denoise.get_config("25", root)).stamp()


def test_stored_small_pictures_are_taken_and_absent_ones_made(root):
    stored, made = standard("Set5", "bicubic-x4", root), standard("Set5", "bicubic-x2", root)
    assert stored.pairs is not None
    assert made.pairs is None
    (_, obs, x), *_ = made.cases
    assert obs.y.shape == (24, 24, 3)
    np.testing.assert_allclose(obs.y * 255, np.round(obs.y * 255), atol=1e-4)  # as a file of 8 bits holds it
    assert (made.border_px, made.color, stored.border_px) == (2, "luma", 4)
    assert x.shape == (48, 48, 3)


def test_noise_is_clipped_nowhere_and_has_its_level(root):
    protocol = standard("Set5", "noise-50", root)
    (_, obs, x), *_ = protocol.cases
    n = np.asarray(obs.y) - x
    assert abs(n.std() - 50 / 255) < 5 * 50 / 255 / np.sqrt(2 * n.size)
    assert obs.y.min() < 0
    assert (protocol.color, protocol.border_px) == ("rgb", 0)


def test_jpeg_of_grey_is_grey(root):
    (_, obs, _), *_ = standard("Set5", "jpeg-10", root).cases
    np.testing.assert_allclose(obs.y[..., 0], obs.y[..., 1], atol=1.01 / 255)


def test_the_stamp_knows_all_but_the_place(root, tmp_path_factory):
    stamps = {d: standard("CBSD68", d, root).stamp()["hash"] for d in DEGRADATIONS if d != "stored"}
    assert len(set(stamps.values())) == len(stamps)
    assert standard("CBSD68", "noise-15", root, seed=1).stamp()["hash"] != stamps["noise-15"]
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "sets"
    elsewhere.symlink_to(root)
    there = standard("CBSD68", "noise-15", str(elsewhere))
    assert there.stamp()["hash"] == stamps["noise-15"]
    assert there.pictures == standard("CBSD68", "noise-15", root).pictures


def test_other_pictures_have_another_hash(root, tmp_path):
    before = standard("Set5", "noise-15", root).pictures
    assert before == standard("Set5", "jpeg-10", root).pictures
    assert before != standard("CBSD68", "noise-15", root).pictures
    write(tmp_path / "Set5" / "HR" / "a.png", np.zeros((48, 48, 3), np.uint8))
    assert before != standard("Set5", "noise-15", root).pictures


@pytest.mark.parametrize(
    ("name", "degradation", "said"),
    [
        ("Set6", "noise-15", "none of the standard sets"),
        ("Set5", "noise-16", "none of the standard degradations: bicubic-x2"),
        ("Set5", "", "none of the standard degradations"),
        ("Set5", "stored", "Set5 does not go with the degradation stored"),
        ("SIDD", "noise-15", "SIDD does not go with the degradation noise-15: take stored"),
    ],
)
def test_what_does_not_go_together(name, degradation, said, root):
    with pytest.raises(ValueError, match=said):
        standard(name, degradation, root)


def test_an_absent_set_is_an_error_whatever_is_asked(root):
    for degradation in ("bicubic-x4", "noise-15", "jpeg-10"):
        with pytest.raises(NoSet, match="Urban100 is not below"):
            _ = standard("Urban100", degradation, root).cases
