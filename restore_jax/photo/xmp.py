"""XMP packets kept as they are, but for orientation, size and, on request, place: `edited(packet, ...)`.

Only the values are exchanged, in both spellings that RDF allows, attribute and element; nothing is parsed and written
anew, so what is not understood is not lost.

Reference: ISO 16684-1:2019, XMP, section 7.
"""

import re


def orientation(packet: bytes | None) -> int | None:
    """The orientation that the packet states, which counts where EXIF states none; None: not stated."""
    found = re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*([1-8])\b", packet or b"")
    return int(found[1]) if found else None


def edited(packet: bytes, height: int, width: int, *, strip_gps: bool = False) -> bytes:
    """The packet for an upright photograph of this size."""
    for name, value in (
        (b"tiff:Orientation", 1),
        (b"tiff:ImageWidth", width),
        (b"tiff:ImageLength", height),
        (b"exif:PixelXDimension", width),
        (b"exif:PixelYDimension", height),
    ):
        new = str(value).encode()
        packet = re.sub(rb"(\b%s\s*=\s*[\"'])\s*\d+\s*([\"'])" % name, rb"\g<1>%s\2" % new, packet)
        packet = re.sub(rb"(<%s\s*>)\s*\d+\s*(</%s\s*>)" % (name, name), rb"\g<1>%s\2" % new, packet)
    if strip_gps:
        packet = re.sub(rb"\s+exif:GPS\w+\s*=\s*(\"[^\"]*\"|'[^']*')", b"", packet)
        packet = re.sub(rb"<(exif:GPS\w+)\b[^>]*/>", b"", packet)
        packet = re.sub(rb"<(exif:GPS\w+)\b[^>]*>[^<]*</\1\s*>", b"", packet)
    return packet
