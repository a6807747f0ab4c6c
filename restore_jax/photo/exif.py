"""EXIF kept byte for byte but for what a restored photograph changes: size, orientation, software, thumbnail, place.

Only the first directory is written anew, behind the rest, so maker's notes keep their places. What is taken out (the
old thumbnail, GPS) is overwritten with zeros, not only unlinked: nobody finds it with a hex editor.

Reference: CIPA DC-008-2019, Exif 2.32, section 4.6.
"""

import struct

from restore_jax.photo import tiff

PREFIX = b"Exif\0\0"
WIDTH, HEIGHT, ORIENTATION, SOFTWARE = 0x0100, 0x0101, 0x0112, 0x0131
THUMBNAIL, THUMBNAIL_BYTES, EXIF, GPS, INTEROP = 0x0201, 0x0202, 0x8769, 0x8825, 0xA005
EXIF_WIDTH, EXIF_HEIGHT = 0xA002, 0xA003
# What says how a TIFF's pixels lie in the file, or is carried apart (ICC, XMP): none of it belongs to another file.
STRUCTURE = (
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291}
    | {292, 293, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 338, 339, 340, 341, 342, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700, 33421, 33422, 34377, 34675, EXIF, GPS}
    | {0x014A, 37724}
    | set(range(50706, 52600))  # DNG's
)


def bare(exif: bytes | None) -> bytes | None:
    """The block without the prefix that JPEG gives it, or None where there is none."""
    if not exif:
        return None
    return exif[len(PREFIX) :] if exif.startswith(PREFIX) else exif


def orientation(exif: bytes | None) -> int | None:
    """The EXIF orientation, 1 to 8; None where none is stated.

    Raises:
        ValueError: the block is damaged.
    """
    if not exif:
        return None
    record = tiff.directory(exif, tiff.first(exif)).records.get(ORIENTATION)
    value = tiff.numbers(record, tiff.byte_order(exif))[:1] if record else ()
    return int(value[0]) if value and value[0] in range(1, 9) else None


def edited(
    exif: bytes,
    height: int,
    width: int,
    *,
    software: str = "",
    thumbnail: bytes = b"",
    strip_gps: bool = False,
    oriented: bool = True,
) -> bytes:
    """The block for an upright photograph of this size.

    Where it stated an orientation, it states 1 (or none, if not `oriented`). A thumbnail is renewed where there was
    one and one is given, and else taken out. Sizes are changed where they are stated.

    Raises:
        ValueError: the block is damaged.
    """
    order, block = tiff.byte_order(exif), bytearray(exif)
    at = tiff.first(block)
    main = tiff.directory(block, at)
    fields: dict[int, tuple[int, int, bytes] | bytes] = dict(tiff.kept(block, main.records))
    freed = [(at, main.end)]
    if main.following:
        freed += _thumbnail(block, main.following, order)
    if strip_gps and GPS in main.records:
        freed += _all(block, _place(main.records[GPS], order))
        del fields[GPS]
    if EXIF in main.records:
        inner = tiff.directory(block, _place(main.records[EXIF], order))
        for tag, length in ((EXIF_WIDTH, width), (EXIF_HEIGHT, height)):
            if tag in inner.records:
                struct.pack_into(order + "HHII", block, inner.records[tag].at, tag, tiff.LONG, 1, length)
    for tag, length in ((WIDTH, width), (HEIGHT, height)):
        if tag in fields:
            fields[tag] = tiff.packed(tiff.LONG, (length,), order)
    if ORIENTATION in fields:
        fields[ORIENTATION] = tiff.packed(tiff.SHORT, (1,), order)
        if not oriented:
            del fields[ORIENTATION]
    if software:
        if SOFTWARE in main.records and main.records[SOFTWARE].count > 4:
            record = main.records[SOFTWARE]
            freed.append((record.place, record.place + len(record.value) + len(record.value) % 2))
        fields[SOFTWARE] = tiff.packed(tiff.ASCII, software.encode("ascii", "replace") + b"\0", order)
    _release(block, freed)
    return _with_first(block, fields, order, thumbnail if main.following else b"")


def created(software: str) -> bytes:
    """A block that names the software and nothing else."""
    fields: dict[int, tuple[int, int, bytes] | bytes] = {
        SOFTWARE: tiff.packed(tiff.ASCII, software.encode("ascii", "replace") + b"\0", "<")
    }
    return _with_first(bytearray(struct.pack("<2sHI", b"II", 42, 8)), fields, "<", b"")


def of_tiff(data: bytes | memoryview) -> bytes | None:
    """What the first directory of a TIFF file says beside its structure, as a block of its own; None: nothing.

    Maker's notes are copied, which moves them: those that point outside themselves lose what they pointed at.

    Raises:
        ValueError: the file is damaged.
    """
    head = bytes(data)  # a view of a mapped file would be copied record by record
    order = tiff.byte_order(head)
    main = tiff.directory(head, tiff.first(head)).records
    fields: dict[int, tuple[int, int, bytes] | bytes] = {
        tag: (r.kind, r.count, r.value) for tag, r in main.items() if tag not in STRUCTURE
    }
    block = bytearray(struct.pack(order + "2sHI", head[:2], 42, 8))
    for tag in (EXIF, GPS):
        if tag in main:
            inner = tiff.directory(head, _place(main[tag], order)).records
            copied: dict[int, tuple[int, int, bytes] | bytes] = {
                t: (r.kind, r.count, r.value) for t, r in inner.items() if t != INTEROP
            }
            at = len(block)
            block += tiff.written(copied, at, order)
            fields[tag] = tiff.packed(tiff.LONG, (at,), order)
    return _with_first(block, fields, order, b"") if fields else None


def _place(record: tiff.Record, order: str) -> int:
    values = tiff.numbers(record, order)
    if not values:
        raise ValueError("a directory's place is no number")
    return int(values[0])


def _all(block: bytearray, at: int) -> list[tuple[int, int]]:
    """Where a directory and its values lie."""
    inner = tiff.directory(block, at)
    return [(at, inner.end), *((r.place, r.place + len(r.value)) for r in inner.records.values())]


def _thumbnail(block: bytearray, at: int, order: str) -> list[tuple[int, int]]:
    try:
        regions = _all(block, at)
        records = tiff.directory(block, at).records
    except ValueError:  # a chain that leads nowhere: nothing to take out
        return []
    if THUMBNAIL in records and THUMBNAIL_BYTES in records:
        start = _place(records[THUMBNAIL], order)
        regions.append((start, min(start + _place(records[THUMBNAIL_BYTES], order), len(block))))
    return regions


def _release(block: bytearray, freed: list[tuple[int, int]]) -> None:
    """Zeros over the freed regions; those at the end go, so that editing again and again does not lengthen it."""
    for start, end in freed:
        if 8 <= start < end:
            block[start:end] = bytes(end - start)
    for start, end in sorted(freed, reverse=True):
        if start >= 8 and end >= len(block):
            del block[start:]


def _with_first(block: bytearray, fields: dict, order: str, thumbnail: bytes) -> bytes:
    """The block with a new first directory, and one for the thumbnail, behind it."""
    block += bytes(len(block) % 2)
    at = len(block)
    struct.pack_into(order + "I", block, 4, at)
    main = tiff.written(fields, at, order)
    if not thumbnail:
        return bytes(block) + main
    place = at + len(main)
    second: dict[int, tuple[int, int, bytes] | bytes] = {
        0x0103: tiff.packed(tiff.SHORT, (6,), order),
        THUMBNAIL: tiff.packed(tiff.LONG, (place + 2 + 3 * 12 + 4,), order),
        THUMBNAIL_BYTES: tiff.packed(tiff.LONG, (len(thumbnail),), order),
    }
    return bytes(block) + tiff.written(fields, at, order, place) + tiff.written(second, place, order) + thumbnail
