"""What a folder should not hold, and what it may."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from restore_jax.data.check import Leak, Report, as_dict, cells, check, difference_hash
from restore_jax.data.sets.embedded import Embedded
from restore_jax.photo.write import write

PHOTOS = [photo for split in ("train", "heldout") for photo in Embedded(split)]


def noise(seed: int, height: int = 70, width: int = 80) -> np.ndarray:
    """Blocks of random grey, an eighth of the side each: structure that survives rescaling."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.BILINEAR))


def jpeg(photo: np.ndarray, scale: float = 1, quality: int = 40) -> np.ndarray:
    picture = Image.fromarray(photo)
    size = [max(1, round(side * scale)) for side in picture.size]
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


# ----------------------------------------------------------------------- the hash


def test_the_hash_of_a_closed_form():
    ramp = np.tile(np.arange(0, 180, 20, dtype=np.uint8).repeat(10)[None, :, None], (80, 1, 3))
    assert difference_hash(ramp) == 2**64 - 1  # darker than the next, everywhere
    assert difference_hash(np.ascontiguousarray(ramp[:, ::-1])) == 0
    half = ramp.copy()
    half[40:] = half[40:, ::-1]
    assert difference_hash(half) == (2**32 - 1) << 32  # the upper rows first
    np.testing.assert_array_equal(cells(ramp)[0], np.arange(0, 180, 20))


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return (difference_hash(a) ^ difference_hash(b)).bit_count()


@pytest.mark.parametrize("scale", [1, 1 / 3])
def test_copies_of_photographs_are_near(scale):
    distances = [bits(photo, jpeg(photo, scale)) for photo in PHOTOS]
    assert max(distances) <= 8
    assert max(distances) > 0  # the copies are not the same to the hash; the threshold does something


def test_brighter_copies_are_near():
    for photo in PHOTOS:
        brighter = ImageEnhance.Brightness(Image.fromarray(photo)).enhance(1.1)
        assert bits(photo, np.asarray(brighter)) <= 8


def test_different_photographs_are_far():
    assert min(bits(a, b) for a, b in itertools.combinations(PHOTOS, 2)) > 8


# ----------------------------------------------------------------------- folders


@pytest.fixture
def folders(tmp_path):
    """`photos` with one fault of each kind, and `eval` with two pictures of it."""
    photos, held = tmp_path / "photos", tmp_path / "eval"
    (photos / "deep").mkdir(parents=True)
    held.mkdir()
    for i in range(4):
        write(photos / f"{i}.png", noise(i))
    Image.fromarray(noise(0)).save(photos / "deep" / "0 again.bmp")
    write(photos / "1 small.png", jpeg(noise(1, 140, 160), 1 / 2))
    write(photos / "tiny.png", noise(5, 20, 80))
    (photos / "bad.jpg").write_bytes(b"")
    write(held / "a.png", noise(2))
    write(held / "b.png", jpeg(noise(3)))
    write(held / "c.png", noise(9))
    return photos, held


def test_every_fault_is_found(folders):
    photos, held = folders
    report = check(photos, [held])
    assert (report.checked, report.checked_against) == (8, 3)
    ((name, why),) = report.unreadable
    assert (name, why.split(".")[0]) == ("bad.jpg", "the file is empty (0 bytes)")
    assert report.tiny == (("tiny.png", "20 x 80"),)
    assert report.duplicates == (("0.png", "deep/0 again.bmp"),)
    assert report.near_duplicates == (("1 small.png", "1.png"),)
    assert [leak[:2] for leak in report.leaks] == [("2.png", f"{held}/a.png"), ("3.png", f"{held}/b.png")]
    assert report.leaks[0].bits == -1 <= report.leaks[1].bits <= 8
    assert not report.is_clean


def test_what_is_said_of_it(folders):
    photos, held = folders
    report = check(photos, [held])
    said = str(report)
    assert "8 photographs checked, against 3 to be measured on." in said
    assert "leaked: 2" in said
    assert f"2.png = {held}/a.png (the same pixels)" in said
    assert "0.png = deep/0 again.bmp" in said
    assert json.loads(json.dumps(as_dict(report)))["leaks"][0]["bits"] == -1
    many = Report(5, 0, duplicates=(("a", "b", "c", "d", "e", "f"),))
    assert "a = b = c = d, and 2 more" in str(many)
    assert "Nothing was found" in str(Report(5, 0))
    assert not Report(5, 5, leaks=(Leak("a", "b", 0),)).is_clean


def test_a_leak_between_published_sets(shared):
    """The portrait of Set5 is also in Set14, stored anew."""
    eval_ = shared / "data" / "eval"
    if not (eval_ / "Set14" / "HR").is_dir():
        pytest.skip("../shared has no Set14")
    (leak,) = check(eval_ / "Set14" / "HR", [eval_ / "Set5" / "HR"]).leaks
    assert (leak.name, leak.against) == ("face.png", f"{eval_}/Set5/HR/head.png")
    assert leak.bits > 0


def test_the_limits_are_the_callers(folders):
    photos, held = folders
    report = check(photos, least_px=10, workers=1)
    assert report.tiny == ()
    assert report.leaks == ()
    assert check(photos, [held], threshold=0).leaks[0].bits == -1


def test_smooth_photographs_are_parted_by_their_cells(tmp_path):
    """A sky that darkens downwards has no differences along its rows, and nor has its opposite."""
    down = np.linspace(0, 255, 72).astype(np.uint8)[:, None, None] * np.ones((1, 90, 3), np.uint8)
    for i, sky in enumerate((down, down[::-1])):
        write(tmp_path / f"{i}.png", np.ascontiguousarray(sky))
    assert bits(down, np.ascontiguousarray(down[::-1])) == 0
    assert check(tmp_path).is_clean


def test_groups_join_through_others(tmp_path):
    for i, quality in enumerate((95, 60, 30, 10)):
        write(tmp_path / f"{i}.png", jpeg(noise(0), quality=quality))
    assert check(tmp_path).near_duplicates == (("0.png", "1.png", "2.png", "3.png"),)


@pytest.mark.parametrize("change", [{"threshold": 65}, {"threshold": -1}, {"least_px": -1}])
def test_numbers_that_do_not_fit(tmp_path, change):
    with pytest.raises(ValueError, match=r"check\.threshold is 0 \.\.\. 64"):
        check(tmp_path, **change)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check(tmp_path / "none")
