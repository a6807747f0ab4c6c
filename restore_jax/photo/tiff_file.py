"""TIFF files with 16-bit or float samples, which Pillow cuts or refuses: read by tifffile, written by rows.

Written: one strip a band, deflated behind the horizontal predictor (floats plain), in the byte order of the EXIF block
that begins the file, so that the block's places need no change.

Reference: TIFF revision 6.0, Adobe, 1992, sections 3 to 18; Technical Note 1 (deflate), 2002.
"""

import io
import struct
import zlib
from typing import Literal

import numpy as np

from restore_jax.photo import exif as exif_block
from restore_jax.photo import tiff
from restore_jax.photo.read import PhotoError
from restore_jax.photo.samples import Samples

PHOTOMETRIC = {"L": 1, "RGB": 2, "CMYK": 5, "LAB": 8}
MAX_BYTES = 2**32 - 2**20  # places have 32 bits
STRIP_BYTES = 2**20
LEVEL = 4  # of deflate: 6 takes twice the time for little


def deep(data: bytes, name: str) -> Samples | None:
    """The samples of a TIFF with more than 8 bits; None for what Pillow reads faithfully.

    Raises:
        PhotoError: damaged, or a kind of pixels that is not a photograph.
    """
    import tifffile

    from restore_jax.photo.decode import judged

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
        extra = tuple(int(e) for e in page.extrasamples or ())
        photometric = int(page.photometric)
        if (bits <= 8 and not (photometric == 5 and extra)) or photometric in (3, 6, 32803):
            return None
        judged(page.imagelength, page.imagewidth, name)
        if page.imagedepth != 1 or page.dtype is None or page.samplesperpixel > 6:
            raise PhotoError(f"{name}: a TIFF of volumes or of many channels is no photograph. Export one picture.")
        if any(o + n > len(data) or n == 0 for o, n in zip(page.dataoffsets, page.databytecounts)):
            raise ValueError("it ends before its pixels do")
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        icc, xmp = page.tags.valueof(34675), page.tags.valueof(700)
    pixels = np.ascontiguousarray(pixels.reshape(page.imagelength, page.imagewidth, -1))
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    colour = {0: 1, 1: 1, 2: 3, 5: 4}.get(photometric)
    if colour is None or pixels.shape[-1] < colour:
        raise PhotoError(f"{name}: a TIFF of kind {photometric} with {bits} bits. Export it as RGB.")
    if pixels.dtype == np.float64 or pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise PhotoError(
            f"{name}: {pixels.dtype} pixels do not say what is white. Save it with 8 or 16 bits, or float."
        )
    if photometric == 0:
        pixels = (np.float32(1) - pixels) if pixels.dtype == np.float32 else np.invert(pixels)
    alpha = pixels[..., colour] if extra and extra[0] in (1, 2) and pixels.shape[-1] > colour else None
    return Samples(
        pixels=np.ascontiguousarray(pixels[..., :colour]),
        alpha=None if alpha is None else np.ascontiguousarray(alpha),
        depth=8 * int(pixels.dtype.itemsize),
        mode={1: "L", 3: "RGB", 4: "CMYK"}[colour],
        icc=bytes(icc) if icc else None,
        exif=exif_block.of_tiff(data),
        xmp=bytes(xmp) if xmp else None,
        format="TIFF",
        extras={"mode": f"{bits} bits", **({"premultiplied": True} if extra[:1] == (1,) else {})},
        name=name,
    )


class TiffRows:
    """Writes a TIFF from the top: `write(pixels, alpha)` for each band, then `close()`.

    Args:
        file: at its start, open for writing, seekable.
        like: mode, depth, whether there is alpha, profile and metadata; EXIF as it shall be.
        fields: more tags, or other values of those written anyway.
        plain: not compressed, one strip behind the other, as raw converters want it.
    """

    def __init__(
        self,
        file: io.BufferedIOBase,
        height: int,
        width: int,
        like: Samples,
        fields: dict[int, tuple[int, int, bytes] | bytes] | None = None,
        plain: bool = False,
    ) -> None:
        self.plain = plain
        channels = like.pixels.shape[-1] + (like.alpha is not None)
        self.row_bytes = width * channels * like.pixels.dtype.itemsize
        if height * self.row_bytes > MAX_BYTES:
            raise ValueError(f"{like.name}: more than 4 GB do not fit into a TIFF; save it as PNG.")
        self.file, self.height, self.width, self.like, self.fields = file, height, width, like, fields or {}
        self.channels, self.strip_rows = channels, max(1, STRIP_BYTES // self.row_bytes)
        self.places: list[int] = []
        self.lengths: list[int] = []
        self.waiting: list[np.ndarray] = []
        self.n_waiting = 0
        block = like.exif or struct.pack("<2sHI", b"II", 42, 8)
        self.order: Literal["<", ">"] = tiff.byte_order(block)
        self.block = block
        file.write(block + bytes(len(block) % 2))

    def write(self, pixels: np.ndarray, alpha: np.ndarray | None) -> None:
        """The next rows."""
        if self.like.mode == "LAB":  # a and b are signed in the file
            pixels = pixels ^ np.array([0, 128, 128], np.uint8)
        rows = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=-1)
        self.waiting.append(rows)
        self.n_waiting += len(rows)
        if self.n_waiting >= self.strip_rows:
            self._strips(last=False)

    def _strips(self, last: bool) -> None:
        rows = np.concatenate(self.waiting) if len(self.waiting) > 1 else self.waiting[0]
        n = len(rows) if last else len(rows) - len(rows) % self.strip_rows
        for top in range(0, n, self.strip_rows):
            strip = rows[top : top + self.strip_rows]
            if not self.plain and strip.dtype != np.float32:  # differences to the left neighbour, modulo the levels
                strip = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
            data = strip.astype(strip.dtype.newbyteorder(self.order)).tobytes()
            data = data if self.plain else zlib.compress(data, LEVEL)
            self.places.append(self.file.tell())
            self.lengths.append(len(data))
            self.file.write(data + bytes(len(data) % 2))
        self.waiting, self.n_waiting = [rows[n:].copy()], len(rows) - n

    def close(self) -> None:
        """The last rows and the directory."""
        if self.n_waiting:
            self._strips(last=True)
        order, like, at = self.order, self.like, self.file.tell()
        if at > MAX_BYTES:
            raise ValueError(f"{like.name}: more than 4 GB do not fit into a TIFF; save it as PNG.")
        floats = like.depth == 32
        fields: dict[int, tuple[int, int, bytes] | bytes] = {}
        if like.exif:
            main = tiff.directory(like.exif, tiff.first(like.exif)).records
            fields |= dict(tiff.kept(like.exif, main))

        def shorts(*values: int) -> tuple[int, int, bytes]:
            return tiff.packed(tiff.SHORT, values, order)

        def longs(*values: int) -> tuple[int, int, bytes]:
            return tiff.packed(tiff.LONG, values, order)

        fields |= {
            256: longs(self.width),
            257: longs(self.height),
            258: shorts(*[like.depth] * self.channels),
            259: shorts(1 if self.plain else 8),
            262: shorts(PHOTOMETRIC[like.mode]),
            273: longs(*self.places),
            277: shorts(self.channels),
            278: longs(self.strip_rows),
            279: longs(*self.lengths),
            284: shorts(1),
            317: shorts(1 if floats or self.plain else 2),
            339: shorts(*[3 if floats else 1] * self.channels),
        }
        if like.alpha is not None:
            fields[338] = shorts(1 if like.extras.get("premultiplied") else 2)
        if like.icc:
            fields[34675] = tiff.packed(tiff.UNDEFINED, like.icc, order)
        if like.xmp:
            fields[700] = tiff.packed(1, like.xmp, order)
        if "dpi" in like.extras and 282 not in fields:
            for tag, dpi in zip((282, 283), like.extras["dpi"]):
                fields[tag] = tiff.packed(tiff.RATIONAL, ((round(dpi * 1000), 1000),), order)
        fields |= self.fields
        self.file.write(tiff.written(fields, at, order))
        self.file.seek(4)
        self.file.write(struct.pack(order + "I", at))
