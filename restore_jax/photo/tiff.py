"""Directories of TIFF, which EXIF and DNG are made of too: read, edited and written without moving what they point at.

A block begins with its byte order ("II" or "MM"), 42 and the place of its first directory. A directory is a count, that
many records of 12 bytes (tag, kind, count, value or the place of the value) and the place of the next directory. All
places count from the start of the block, so a block stays whole as long as nothing in it moves: new directories go
behind it, and camera makers' notes, which point where they please, survive.

Reference: TIFF revision 6.0, Adobe, 1992, section 2.
"""

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
UNDEFINED, ASCII, SHORT, LONG, RATIONAL, SRATIONAL, FLOAT = 7, 2, 3, 4, 5, 10, 11
MOST_RECORDS = 4096  # a damaged count would otherwise keep us busy


class Record(NamedTuple):
    """One field of a directory: where its 12 bytes lie, its kind, its count and its value's bytes and place."""

    at: int
    kind: int
    count: int
    value: bytes
    place: int


class Directory(NamedTuple):
    """The fields by tag, the place of the next directory (0: none), and where the directory ends."""

    records: dict[int, Record]
    following: int
    end: int


def byte_order(block: bytes | bytearray) -> Literal["<", ">"]:
    """The letter of `struct` for the block's byte order.

    Raises:
        ValueError: not the beginning of a TIFF block.
    """
    head = bytes(block[:4])
    if head not in (b"II*\0", b"MM\0*") or len(block) < 8:
        raise ValueError("no TIFF header")
    return "<" if head[:2] == b"II" else ">"


def first(block: bytes | bytearray) -> int:
    """The place of the first directory."""
    return struct.unpack(byte_order(block) + "I", block[4:8])[0]


def directory(block: bytes | bytearray, at: int) -> Directory:
    """The directory at a place; fields of unknown kinds, or whose value lies outside the block, are left out.

    Raises:
        ValueError: the directory itself lies outside the block.
    """
    order = byte_order(block)
    if not 8 <= at <= len(block) - 2:
        raise ValueError(f"a directory at {at} of {len(block)} bytes")
    (n,) = struct.unpack_from(order + "H", block, at)
    end = at + 2 + 12 * n
    if n > MOST_RECORDS or end > len(block):
        raise ValueError(f"a directory of {n} records at {at} of {len(block)} bytes")
    records = {}
    for i in range(n):
        here = at + 2 + 12 * i
        tag, kind, count = struct.unpack_from(order + "HHI", block, here)
        size = BYTES.get(kind, 0) * count
        place = here + 8 if size <= 4 else struct.unpack_from(order + "I", block, here + 8)[0]
        if size and place + size <= len(block):
            records[tag] = Record(here, kind, count, bytes(block[place : place + size]), place)
    following = struct.unpack_from(order + "I", block, end)[0] if end + 4 <= len(block) else 0
    return Directory(records, following, min(end + 4, len(block)))


def numbers(record: Record, order: str) -> tuple[int | float, ...]:
    """The values of a field of numbers; nothing for text.

    Raises:
        ValueError: never for a record of `directory`.
    """
    if record.kind in (RATIONAL, SRATIONAL):
        parts = struct.unpack(order + ("I" if record.kind == RATIONAL else "i") * 2 * record.count, record.value)
        return tuple(a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2]))
    letter = LETTERS.get(record.kind)
    return struct.unpack(f"{order}{record.count}{letter}", record.value) if letter else ()


def packed(kind: int, values: tuple | bytes, order: str) -> tuple[int, int, bytes]:
    """A field's kind, count and bytes; rationals are given as pairs, text and bytes as bytes."""
    if isinstance(values, bytes):
        return kind, len(values), values
    if kind in (RATIONAL, SRATIONAL):
        flat = [part for pair in values for part in pair]
        return kind, len(values), struct.pack(order + ("I" if kind == RATIONAL else "i") * len(flat), *flat)
    return kind, len(values), struct.pack(f"{order}{len(values)}{LETTERS[kind]}", *values)


def written(fields: dict[int, tuple[int, int, bytes] | bytes], at: int, order: str, following: int = 0) -> bytes:
    """A directory to be put at a place, with its longer values behind it.

    A field is (kind, count, bytes), or the 12 bytes of a record that stay as they are.
    """
    values, behind = [], at + 2 + 12 * len(fields) + 4
    head = [struct.pack(order + "H", len(fields))]
    for tag, field in sorted(fields.items()):
        if isinstance(field, bytes):
            head.append(field)
            continue
        kind, count, value = field
        if len(value) <= 4:
            head.append(struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0"))
            continue
        head.append(struct.pack(order + "HHII", tag, kind, count, behind))
        values.append(value + b"\0" * (len(value) % 2))
        behind += len(values[-1])
    return b"".join([*head, struct.pack(order + "I", following), *values])


def kept(block: bytes | bytearray, records: dict[int, Record]) -> Iterator[tuple[int, bytes]]:
    """Each tag with its 12 bytes as they stand, for `written`."""
    for tag, record in records.items():
        yield tag, bytes(block[record.at : record.at + 12])
