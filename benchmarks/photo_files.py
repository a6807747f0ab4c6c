"""Photograph files in figures: nothing is lost on the way through, and damaged files do no harm.

    python -m benchmarks.photo_files round_trips      about two minutes on one core; prints JSON
    python -m benchmarks.photo_files fuzz [n]         5,000 damaged files by default, about ten minutes

round_trips    every format x depth x mode x orientation x profile x metadata below: written by Pillow, tifffile or
               libpng, opened, restored by a restorer that changes nothing, saved, and read by others: pixels by
               libvips (lossless formats: equal; JPEG, AVIF and HEIC: PSNR), fields and profile by exiftool. "cases"
               and "failed"; "readers" says which of the two were there
fuzz           files truncated, with flipped bits, wrong headers, claimed sizes, 1 x 1, 65,535 wide, empty, animated:
               another process, which may take 2 GB beside its libraries, opens each and saves it where that works.
               "crashes": it died, or an error was not one PhotoError of one line that names the file; "hangs": over
               10 s; "half_written": a file that is not whole, or a draft, is left
"""

import base64
import contextlib
import functools
import io
import itertools
import json
import shutil
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from benchmarks.photo_readers import by_exiftool, by_vips, psnr
from restore_jax.photo.photo import open_photo, save_photo
from restore_jax.photo.png import SIGNATURE, chunk

SIZE = (34, 46)
MIN_PSNR = {"JPEG": 36.0, "AVIF": 36.0, "HEIC": 36.0}  # of a smooth picture with noise of 2 levels, at quality 95
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'tiff:Orientation="6" xmp:Label="kept"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class Case:
    """One file of the matrix."""

    format: str
    depth: int
    mode: str
    orientation: int
    profile: str
    metadata: bool

    @property
    def name(self) -> str:
        """For its file."""
        rest = "meta" if self.metadata else "bare"
        return f"{self.format}_{self.depth}_{self.mode}_{self.orientation}_{self.profile}_{rest}".lower()


KINDS = (
    *(("PNG", 8, mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "PA", "1")),
    *(("PNG", 16, mode) for mode in ("L", "LA", "RGB", "RGBA")),
    *(("TIFF", 8, mode) for mode in ("L", "RGB", "RGBA", "P", "1", "CMYK", "LAB")),
    *(("TIFF", 16, mode) for mode in ("L", "LA", "RGB", "RGBA", "CMYK")),
    *(("TIFF", 32, mode) for mode in ("L", "RGB", "RGBA")),
    *(("WEBP", 8, mode) for mode in ("RGB", "RGBA")),
    *(("JPEG", 8, mode) for mode in ("L", "RGB", "CMYK")),
    *(("AVIF", 8, mode) for mode in ("RGB", "RGBA")),
    *(("HEIC", 8, mode) for mode in ("RGB", "RGBA")),
    *(("JPEG2000", 8, mode) for mode in ("L", "RGB", "RGBA")),
    *(("BMP", 8, mode) for mode in ("L", "RGB", "1", "P")),
    ("GIF", 8, "P"),
)
SUFFIX = {"PNG": "png", "TIFF": "tif", "WEBP": "webp", "JPEG": "jpg", "AVIF": "avif", "HEIC": "heic"}
PLAIN = ("JPEG2000", "BMP", "GIF")  # read only, without metadata; saved as PNG
LOSSY = ("JPEG", "AVIF", "HEIC")
ORIENTATIONS = (1, 2, 3, 4, 5, 6, 7, 8)


def cases() -> list[Case]:
    """The matrix: with every orientation a profile and metadata in turn, and every pair of these upright."""
    found = []
    for format, depth, mode in KINDS:
        if format in PLAIN:
            found.append(Case(format, depth, mode, 1, "none", False))
            continue
        profiles = ("none", "srgb", "wide") if mode not in ("CMYK", "LAB") else ("none",)
        found += [Case(format, depth, mode, 1, p, m) for p, m in itertools.product(profiles, (False, True))]
        found += [Case(format, depth, mode, o, profiles[o % len(profiles)], True) for o in ORIENTATIONS[1:]]
    return found


# ---------------------------------------------------------------------------------------------- writing, by others


@functools.cache  # its date is the second when it was made
def profile(name: str, grey: bool) -> bytes | None:
    """A profile: sRGB's, or one that changes every colour."""
    import imagecodecs

    if name == "none":
        return None
    if grey:
        return imagecodecs.cms_profile("gray", whitepoint=[0.3127, 0.329, 1.0], gamma=2.2 if name == "srgb" else 1.5)
    if name == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    primaries = [0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0]
    return imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.329, 1.0], primaries=primaries, gamma=1.8)


def exif(orientation: int, metadata: bool) -> Image.Exif:
    """What a camera writes."""
    block = Image.Exif()
    if orientation != 1 or metadata:
        block[0x0112] = orientation
    if metadata:
        block[0x010F], block[0x0110] = "Maker", "Model One"
        inner = {0x9003: "2024:05:06 07:08:09", 0x8827: 200, 0xA002: SIZE[1], 0xA003: SIZE[0], 0x829A: (1, 250)}
        block.get_ifd(0x8769).update(inner | {0x829A: 0.004, 0x927C: b"MAKER\0secret notes"})
        block.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    return block


def stored(case: Case) -> np.ndarray:
    """The samples that lie in the file: smooth, with noise of two levels; channels as the mode says."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    h, w = SIZE
    channels = {"L": 1, "P": 3, "PA": 3, "1": 1, "LA": 2, "RGB": 3, "LAB": 3, "RGBA": 4, "CMYK": 4}[case.mode]
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    planes = np.stack([0.5 + 0.4 * np.sin(2 * x * (i + 1) + 3 * y + i) for i in range(channels)], -1)
    values = planes + rng.uniform(-2, 2, planes.shape) / 255
    if case.depth == 32:
        return values.astype(np.float32)
    white = 2**case.depth - 1
    return np.floor(np.clip(values, 0, 1) * white + 0.5).astype(np.uint8 if case.depth == 8 else np.uint16)


def made(case: Case) -> tuple[bytes, np.ndarray]:
    """The file, and the upright samples that ought to come out of it (h w c, alpha last)."""
    samples = stored(case)
    icc = profile(case.profile, case.mode in ("L", "LA", "1"))
    block = exif(case.orientation, case.metadata)
    xmp = XMP if case.metadata else b""
    deep = case.depth > 8 or (case.format == "TIFF" and case.mode == "LA")
    if deep and case.format == "TIFF":
        data = deep_tiff(samples, case, icc, block, xmp)
    elif deep:
        data = deep_png(samples, icc, block, xmp)
    else:
        data, samples = through_pillow(samples, case, icc, block, xmp)
    turned = Image.fromarray(np.arange(samples.shape[0] * samples.shape[1], dtype=np.int32).reshape(samples.shape[:2]))
    operation = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(case.orientation)  # as ImageOps.exif_transpose has it
    if case.orientation != 1 and case.format != "HEIC":  # which Pillow's plugin has turned
        turned = turned.transpose(Image.Transpose(operation))
    return data, samples.reshape(-1, samples.shape[-1])[np.asarray(turned)]


def through_pillow(samples, case: Case, icc, block, xmp) -> tuple[bytes, np.ndarray]:
    """8 bits."""
    mode, options = case.mode, {}
    if mode in ("P", "PA"):
        picture = Image.fromarray(samples).quantize(64)
        samples = np.asarray(picture.convert("RGB"))
        if mode == "PA":
            options["transparency"] = bytes(range(0, 256, 4))
            samples = np.asarray(Image.open(io.BytesIO(_saved(picture, "PNG", **options))).convert("RGBA"))
    elif mode == "1":
        picture = Image.fromarray(samples[..., 0]).convert("1")
        samples = np.asarray(picture.convert("L"))[..., None]
    elif mode == "L":
        picture = Image.fromarray(samples[..., 0])
    else:
        picture = Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
        if mode == "LAB":  # the file's a and b are signed
            samples = samples ^ np.array([0, 128, 128], np.uint8)
    options |= {"WEBP": {"lossless": True, "exact": True}, "JPEG": {"quality": 97, "subsampling": 0}}.get(
        case.format, {}
    )
    if case.format == "HEIC":
        import pillow_heif

        pillow_heif.register_heif_opener()
    if case.format in ("AVIF", "HEIC"):
        options |= {"quality": 95, **({"subsampling": "4:4:4"} if case.format == "AVIF" else {"chroma": "444"})}
    if case.format not in PLAIN:
        if case.orientation != 1 or case.metadata:
            options["exif"] = block
        if icc:
            options["icc_profile"] = icc
        if xmp and case.format == "PNG":
            from PIL.PngImagePlugin import PngInfo

            options["pnginfo"] = PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
        elif xmp and case.format == "TIFF":
            again = Image.Exif()  # Pillow forgets directories that were not loaded
            again.load(block.tobytes())
            again[700], options["exif"] = xmp, again
        elif xmp:
            options["xmp"] = xmp
    data = _saved(picture, {"HEIC": "HEIF"}.get(case.format, case.format), **options)
    if case.format in LOSSY:  # its own loss is not ours
        samples = np.asarray(Image.open(io.BytesIO(data)))
        samples = samples if samples.ndim == 3 else samples[..., None]
    return data, samples


def _saved(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def deep_png(samples, icc, block, xmp) -> bytes:
    """16 bits, by libpng."""
    import imagecodecs

    data = imagecodecs.png_encode(samples if samples.shape[-1] > 1 else samples[..., 0])
    more = chunk(b"iCCP", b"p\0\0" + zlib.compress(icc)) if icc else b""
    more += chunk(b"eXIf", block.tobytes()[6:]) if len(block) else b""
    more += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) if xmp else b""
    assert data.startswith(SIGNATURE)
    return data[:33] + more + data[33:]


def deep_tiff(samples, case: Case, icc, block, xmp) -> bytes:
    """16 bits and float, by tifffile; EXIF's and GPS's directories are put behind it by hand."""
    import tifffile

    colour = {"L": "minisblack", "LA": "minisblack", "CMYK": "separated"}.get(case.mode, "rgb")
    tags = [(700, 1, len(xmp), xmp, True)] if xmp else []
    for tag, value in ((0x010F, "Maker"), (0x0110, "Model One")) if case.metadata else ():
        tags.append((tag, 2, None, value, True))
    if len(block):
        tags.append((0x0112, 3, 1, case.orientation, True))
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples if samples.shape[-1] > 1 else samples[..., 0],
        photometric=colour,
        extrasamples=["unassalpha"] if case.mode in ("LA", "RGBA") else None,
        planarconfig="contig" if samples.shape[-1] > 1 else None,
        compression=("zlib", "lzw", None)[case.orientation % 3],
        byteorder="<>"[case.orientation % 2],
        iccprofile=icc,
        extratags=tags,
        metadata=None,
        software="",
    )
    data = file.getvalue()
    return with_directories(data, "<>"[case.orientation % 2]) if case.metadata else data


def with_directories(data: bytes, order: str) -> bytes:
    """The TIFF with EXIF that holds a date, and GPS that holds a latitude, as directories behind it."""
    out = bytearray(data + bytes(len(data) % 2))
    at = struct.unpack(order + "I", data[4:8])[0]
    n = struct.unpack(order + "H", data[at : at + 2])[0]
    records = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(n)]
    place = len(out)
    out += struct.pack(order + "HHHIII", 1, 0x9003, 2, 20, place + 18, 0) + b"2024:05:06 07:08:09\0"
    records.append(struct.pack(order + "HHII", 0x8769, 4, 1, place))
    place = len(out)
    out += struct.pack(order + "HHHI4s", 2, 1, 2, 2, b"N\0\0\0")
    out += struct.pack(order + "HHIII6I", 2, 5, 3, place + 30, 0, 52, 1, 31, 1, 12, 1)
    records.append(struct.pack(order + "HHII", 0x8825, 4, 1, place))
    out[4:8] = struct.pack(order + "I", len(out))
    return bytes(out + struct.pack(order + "H", n + 2) + b"".join(records) + bytes(4))


# ---------------------------------------------------------------------------------------------- reading, by others


def faults(folder: Path, some: list[Case]) -> Iterator[str]:
    """Runs the cases and says what is wrong with each."""
    expected: dict[str, tuple[Case, tuple[int, int]]] = {}
    for case in some:
        data, samples = made(case)
        source = folder / f"in_{case.name}"
        source.write_bytes(data)
        path = folder / f"{case.name}.{SUFFIX.get(case.format, 'png')}"
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            photo = open_photo(source)
            save_photo(path, photo.restored(photo.x))
        source.unlink()
        if said:
            yield f"{case.name}: warned: {said[0].message}"
        expected[path.name] = case, samples.shape[:2]
        yield from pixel_faults(case, path, samples)
        with Image.open(path) if case.depth == 8 else contextlib.nullcontext() as again:
            icc = again.info.get("icc_profile") if again else open_photo(path).icc
        if (icc or None) != profile(case.profile, case.mode in ("L", "LA", "1")):
            yield f"{case.name}: the profile is another"
    fields = by_exiftool(folder)
    for name, (case, size) in expected.items() if fields is not None else ():
        yield from (f"{case.name}: {fault}" for fault in field_faults(case, size, (fields or {}).get(name, {})))


def pixel_faults(case: Case, path: Path, samples: np.ndarray) -> Iterator[str]:
    """By our reader and by libvips."""
    photo = open_photo(path)
    out = photo.pixels if photo.alpha is None else np.concatenate([photo.pixels, photo.alpha[..., None]], -1)
    if out.shape != samples.shape or out.dtype != samples.dtype:
        yield f"{case.name}: {out.dtype} {out.shape} in place of {samples.dtype} {samples.shape}"
        return
    if case.format in LOSSY:
        if (decibel := psnr(out, samples)) < MIN_PSNR[case.format]:
            yield f"{case.name}: {decibel:.1f} dB"
    elif not np.array_equal(out, samples):
        yield f"{case.name}: other pixels"
    if case.format in LOSSY or case.mode == "LAB":
        return
    theirs = by_vips(path, samples.shape, samples.dtype)
    if theirs is not None and not np.array_equal(theirs, samples):
        yield f"{case.name}: other pixels to libvips ({theirs.shape})"


def field_faults(case: Case, size: tuple[int, int], fields: dict) -> Iterator[str]:
    """By exiftool."""
    for trouble in ("ExifTool:Warning", "ExifTool:Error"):
        if trouble in fields and "minor" not in fields[trouble]:
            yield f"{trouble} {fields[trouble]}"
    if (
        case.format != "HEIC"
        and (got := (fields.get("File:ImageHeight", size[0]), fields.get("File:ImageWidth", size[1]))) != size
    ):
        yield f"size {got}, not {size}"
    if not str(fields.get("IFD0:Software", "")).startswith("restore_jax"):
        yield "no software tag"
    if fields.get("IFD0:Orientation", 1) != 1:
        yield "the orientation is not reset"
    icc = profile(case.profile, case.mode in ("L", "LA", "1"))
    if icc and case.format not in ("AVIF", "HEIC"):
        stated = next((v for k, v in fields.items() if k.endswith(":ICC_Profile")), "")
        if base64.b64decode(str(stated).removeprefix("base64:")) != icc:
            yield "exiftool sees another profile"
    if not case.metadata:
        return
    wanted = {"IFD0:Make": "Maker", "IFD0:Model": "Model One", "ExifIFD:DateTimeOriginal": "2024:05:06 07:08:09"}
    for key, value in wanted.items():
        if fields.get(key) != value:
            yield f"{key} is {fields.get(key)}"
    latitude = fields.get("GPS:GPSLatitude")
    if latitude is None or abs(float(latitude) - (52 + 31 / 60 + 12 / 3600)) > 1e-9:
        yield f"GPS:GPSLatitude is {latitude}"
    if (
        "ExifIFD:ExifImageWidth" in fields
        and (
            fields["ExifIFD:ExifImageHeight"],
            fields["ExifIFD:ExifImageWidth"],
        )
        != size
    ):
        yield "EXIF states another size"
    if fields.get("XMP-xmp:Label") != "kept" or fields.get("XMP-tiff:Orientation", 1) != 1:
        yield f"XMP {fields.get('XMP-xmp:Label')} {fields.get('XMP-tiff:Orientation')}"


def round_trips() -> dict:
    """All cases."""
    some = cases()
    with tempfile.TemporaryDirectory() as folder:
        wrong = list(faults(Path(folder), some))
    failed = sorted({line.split(":")[0] for line in wrong})
    readers = [tool for tool in ("vips", "exiftool") if shutil.which(tool)]
    return {"cases": len(some), "failed": len(failed), "readers": readers, "faults": wrong[:60]}


def main() -> None:
    """The command."""
    from benchmarks import photo_fuzz

    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "round_trips":
        result = round_trips()
    elif what == "fuzz":
        result = photo_fuzz.fuzz(int(sys.argv[2]) if len(sys.argv) > 2 else 5000)
    elif what == "_worker":
        photo_fuzz.work()
        return
    else:
        raise SystemExit(f"python -m benchmarks.photo_files round_trips|fuzz [n], not {what!r}.")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
