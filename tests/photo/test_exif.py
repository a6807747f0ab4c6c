"""EXIF: only what a restored photograph changes is changed."""

import io
import struct

import pytest
from PIL import Image

from restore_jax.photo import exif, tiff


def camera(orientation: int = 6) -> bytes:
    """A block as Pillow writes it: with GPS, a maker's note and sizes."""
    block = Image.Exif()
    block[0x010F], block[exif.ORIENTATION], block[exif.SOFTWARE] = "Maker", orientation, "firmware of the camera 1.0"
    inner = {0x9003: "2024:05:06 07:08:09", exif.EXIF_WIDTH: 40, exif.EXIF_HEIGHT: 30, 0x927C: b"secret notes of it"}
    block.get_ifd(exif.EXIF).update(inner)
    block.get_ifd(exif.GPS).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return block.tobytes()[6:]


def with_thumbnail(block: bytes, thumbnail: bytes) -> bytes:
    """The block with a second directory, built by hand."""
    order = tiff.byte_order(block)
    main = tiff.directory(block, tiff.first(block))
    place = len(block)
    block = block[: main.end - 4] + struct.pack(order + "I", place) + block[main.end :]
    fields = {tag: tiff.packed(tiff.LONG, (v,), order) for tag, v in ((0x0201, place + 30), (0x0202, len(thumbnail)))}
    return block + tiff.written(fields, place, order) + thumbnail


def read(block: bytes) -> Image.Exif:
    found = Image.Exif()
    found.load(exif.PREFIX + block)
    return found


def test_upright_of_a_new_size():
    found = read(exif.edited(camera(), 300, 70000, software="restore_jax"))
    assert (found[exif.ORIENTATION], found[exif.SOFTWARE], found[0x010F]) == (1, "restore_jax", "Maker")
    inner = found.get_ifd(exif.EXIF)
    assert (inner[exif.EXIF_HEIGHT], inner[exif.EXIF_WIDTH]) == (300, 70000)
    assert inner[0x9003] == "2024:05:06 07:08:09"
    assert found.get_ifd(exif.GPS)[2] == (52.0, 31.0, 12.0)


def test_makers_notes_stay_where_they_were():
    block = camera()
    assert exif.edited(block, 3, 4, software="x").index(b"secret notes") == block.index(b"secret notes")


def test_gps_is_not_only_unlinked():
    """The latitude's bytes are gone, and nothing else is."""
    block = camera()
    latitude = struct.pack(tiff.byte_order(block) + "6I", 52, 1, 31, 1, 12, 1)
    assert latitude in block
    stripped = exif.edited(block, 3, 4, strip_gps=True)
    assert latitude not in stripped
    assert exif.GPS not in read(stripped)
    assert read(stripped).get_ifd(exif.EXIF)[0x927C] == b"secret notes of it"


def test_the_thumbnail_is_renewed():
    file = io.BytesIO()
    Image.new("RGB", (16, 12)).save(file, "JPEG")
    block = with_thumbnail(camera(), b"\xff\xd8old" * 99 + b"\xff\xd9")
    out = exif.edited(block, 3, 4, thumbnail=file.getvalue())
    assert b"old" not in out
    second = tiff.directory(out, tiff.directory(out, tiff.first(out)).following).records
    order = tiff.byte_order(out)
    place, length = (tiff.numbers(second[tag], order)[0] for tag in (0x0201, 0x0202))
    assert out[place : place + length] == file.getvalue()
    assert exif.edited(camera(), 3, 4, thumbnail=file.getvalue()).find(b"\xff\xd8") == -1  # there was none


def test_editing_again_does_not_lengthen_it():
    once = exif.edited(with_thumbnail(camera(), b"\xff\xd8old\xff\xd9"), 3, 4, software="x" * 20, thumbnail=b"12345678")
    twice = exif.edited(once, 3, 4, software="x" * 20, thumbnail=b"12345678")
    assert len(exif.edited(twice, 3, 4, software="x" * 20, thumbnail=b"12345678")) <= len(twice) <= len(once) + 24


def test_orientation_and_prefix():
    assert exif.orientation(camera(8)) == 8
    assert exif.orientation(exif.edited(camera(8), 3, 4)) == 1
    assert exif.orientation(exif.edited(camera(8), 3, 4, oriented=False)) is None
    assert exif.orientation(None) is exif.bare(b"") is None
    assert exif.bare(exif.PREFIX + b"II") == exif.bare(b"II") == b"II"


def test_created():
    assert read(exif.created("restore_jax")) == {exif.SOFTWARE: "restore_jax"}


@pytest.mark.parametrize("damaged", [b"nonsense", camera()[:40], b"II*\0" + b"\xff" * 40])
def test_damaged_blocks_are_refused(damaged):
    with pytest.raises(ValueError, match=r"directory|header"):
        exif.edited(damaged, 3, 4)


def test_of_tiff_takes_what_is_not_structure():
    file, block = io.BytesIO(), Image.Exif()
    block.load(exif.PREFIX + camera())
    Image.new("RGB", (4, 4)).save(file, "TIFF", exif=block)
    found = read(exif.of_tiff(file.getvalue()))
    assert found[0x010F] == "Maker"
    assert found.get_ifd(exif.EXIF)[0x9003] == "2024:05:06 07:08:09"
    assert found.get_ifd(exif.GPS)[2] == (52.0, 31.0, 12.0)
    assert not {0x0100, 0x0102, 0x0111} & set(found)
