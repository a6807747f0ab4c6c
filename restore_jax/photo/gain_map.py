"""The HDR gain map of a JPEG ("Ultra HDR"): a second JPEG behind the first, which an MPF index finds.

A gain map holds ratios of light at a size of its own, so it fits the restored photograph as it fitted the original.
It is carried byte for byte, with the segments that announce it; the index is made anew. Other second pictures of MPF
(previews, stereo) would show the unrestored photograph and are left out.

Reference: CIPA DC-007-2021, Multi-Picture Format, section 5.2; ISO 21496-1:2025; Ultra HDR Image Format 1.1, Google.
"""

import struct
from collections.abc import Iterator
from typing import Any

from restore_jax.photo import tiff

MPF, ISO, IPTC = b"MPF\0", b"urn:iso:std:iso:ts:21496-1\0", b"Photoshop 3.0\0"
SIGNS = (b"http://ns.adobe.com/hdr-gain-map/", b"http://ns.apple.com/HDRGainMap/", ISO)
INDEX_VERSION, INDEX_COUNT, INDEX_ENTRIES = 0xB000, 0xB001, 0xB002
MOST_PICTURES = 16


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment before the pixels of a JPEG."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            return
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if end > len(data) or end < at + 4:
            return
        yield marker, at, end
        at = end


def extras(data: bytes) -> dict[str, Any]:
    """What a JPEG carries beside pixels, EXIF, XMP and profile: "gain_map" (a JPEG) and "segments" (to repeat)."""
    found: dict[str, Any] = {}
    kept, index = [], None
    for marker, start, end in segments(data):
        body = data[start + 4 : end]
        if (marker == 0xED and body.startswith(IPTC)) or (marker == 0xE2 and body.startswith(ISO)):
            kept.append(data[start:end])
        elif marker == 0xE2 and body.startswith(MPF):
            index = start + 4 + len(MPF), body[len(MPF) :]
    if index is not None:
        for second in _others(data, *index):
            if any(sign in second[:65536] for sign in SIGNS):
                found["gain_map"] = second
                break
    if "gain_map" not in found:
        kept = [segment for segment in kept if ISO not in segment[:64]]
    if kept:
        found["segments"] = tuple(kept)
    return found


def joined(first: bytes, gain_map: bytes) -> bytes:
    """One file of a JPEG and its gain map."""
    at = 2
    for marker, _, end in segments(first):
        if marker not in (0xE0, 0xE1):
            break
        at = end
    index = _index(0, 0, 0)
    length = 4 + len(MPF) + len(index)
    total, header = len(first) + length, at + 4 + len(MPF)
    index = _index(total, len(gain_map), total - header)
    segment = b"\xff\xe2" + struct.pack(">H", length - 2) + MPF + index
    return first[:at] + segment + first[at:] + gain_map


def _others(data: bytes, header: int, index: bytes) -> Iterator[bytes]:
    """The pictures of an MPF index but the first; damaged entries are passed over."""
    try:
        order = tiff.byte_order(index)
        record = tiff.directory(index, tiff.first(index)).records[INDEX_ENTRIES]
    except (ValueError, KeyError):
        return
    for i in range(1, min(len(record.value) // 16, MOST_PICTURES)):
        size, offset = struct.unpack_from(order + "II", record.value, 16 * i + 4)
        second = data[header + offset : header + offset + size]
        if offset and len(second) == size and second[:2] == b"\xff\xd8":
            yield second


def _index(first_bytes: int, second_bytes: int, second_at: int) -> bytes:
    entries = struct.pack(">IIIHH", 0x030000, first_bytes, 0, 0, 0)  # the baseline picture
    entries += struct.pack(">IIIHH", 0, second_bytes, second_at, 0, 0)
    fields: dict[int, tuple[int, int, bytes] | bytes] = {
        INDEX_VERSION: tiff.packed(tiff.UNDEFINED, b"0100", ">"),
        INDEX_COUNT: tiff.packed(tiff.LONG, (2,), ">"),
        INDEX_ENTRIES: tiff.packed(tiff.UNDEFINED, entries, ">"),
    }
    return struct.pack(">2sHI", b"MM", 42, 8) + tiff.written(fields, 8, ">")
