"""Directories of TIFF: what is written is read, by us and by Pillow, and damage is refused."""

import struct

import pytest
from PIL import Image

from restore_jax.photo import tiff


def block(order: str, fields: dict) -> bytes:
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return head + tiff.written(fields, 8, order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_written_is_read(order):
    fields = {
        0x010F: tiff.packed(tiff.ASCII, b"Maker\0", order),
        0x0112: tiff.packed(tiff.SHORT, (6,), order),
        0x011A: tiff.packed(tiff.RATIONAL, ((300, 2),), order),
        0x9999: tiff.packed(tiff.SRATIONAL, ((-1, 4), (3, 0)), order),
    }
    data = block(order, fields)
    assert tiff.byte_order(data) == order
    found = tiff.directory(data, tiff.first(data))
    assert found.following == 0
    assert {tag: (r.kind, r.count, r.value) for tag, r in found.records.items()} == fields
    assert tiff.numbers(found.records[0x9999], order) == (-0.25, 0.0)  # what has no denominator is nothing
    assert tiff.numbers(found.records[0x010F], order) == ()
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + data)
    assert (exif[0x010F], exif[0x0112], exif[0x011A]) == ("Maker", 6, 150)


def test_records_stay_as_they_are():
    data = block("<", {0x010F: tiff.packed(tiff.ASCII, b"Maker\0", "<"), 0x0112: tiff.packed(tiff.SHORT, (6,), "<")})
    again = tiff.directory(data, 8)
    longer = data + tiff.written(dict(tiff.kept(data, again.records)), len(data), "<")
    moved = tiff.directory(longer, len(data))
    assert [(r.kind, r.value) for r in moved.records.values()] == [(r.kind, r.value) for r in again.records.values()]


@pytest.mark.parametrize("data", [b"", b"II*\0", b"JFIF0000", b"MM*\0" + bytes(8)])
def test_what_is_no_block(data):
    with pytest.raises(ValueError, match="no TIFF header"):
        tiff.first(data)


def test_directories_outside_the_block():
    data = block("<", {0x0112: tiff.packed(tiff.SHORT, (6,), "<")})
    for place in (0, len(data), 2**31):
        with pytest.raises(ValueError, match="directory"):
            tiff.directory(data, place)
    with pytest.raises(ValueError, match="directory of 65535"):
        tiff.directory(data[:8] + b"\xff\xff" + data[10:], 8)


def test_values_outside_the_block_are_left_out():
    data = block("<", {0x010F: tiff.packed(tiff.ASCII, b"a long maker\0", "<")})
    assert tiff.directory(data[:-8], 8).records == {}
