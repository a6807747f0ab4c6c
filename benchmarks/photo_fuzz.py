"""Damaged photograph files, and a process that opens them: `fuzz(n)`; see `benchmarks.photo_files`."""

import importlib
import io
import json
import os
import selectors
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from restore_jax.photo.png import chunk

LIMIT_S, LIMIT_BYTES = 10.0, 2 * 2**30
KINDS = ("cut", "bits", "bytes", "header", "claims", "small", "wide", "empty", "animated", "swapped", "zeros")


def fuzz(n: int) -> dict:
    """Opens `n` damaged files, one after another, and counts."""
    from benchmarks.photo_files import Case, made

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    chosen = [("PNG", 8, "RGBA"), ("PNG", 8, "P"), ("PNG", 16, "RGB"), ("TIFF", 8, "RGB"), ("TIFF", 8, "CMYK")]
    chosen += [("TIFF", 16, "RGB"), ("TIFF", 32, "L"), ("JPEG", 8, "RGB"), ("JPEG", 8, "CMYK"), ("WEBP", 8, "RGBA")]
    chosen += [("AVIF", 8, "RGB"), ("HEIC", 8, "RGB"), ("JPEG2000", 8, "RGB"), ("BMP", 8, "RGB"), ("GIF", 8, "P")]
    seeds = [made(Case(*kind, 1 if kind[0] in ("JPEG2000", "BMP", "GIF") else 6, "none", True))[0] for kind in chosen]
    seeds = [(kind[0], data) for kind, data in zip(chosen, seeds)] + [("DNG", dng())]
    counts = {"cases": 0, "opened": 0, "refused": 0, "crashes": 0, "hangs": 0, "half_written": 0}
    worst: dict = {"seconds": 0.0, "peak_mb": 0.0, "faults": []}
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker()
        for i in tqdm(range(n), unit="file"):
            format, data = seeds[i % len(seeds)]
            what = KINDS[(i // len(seeds)) % len(KINDS)]
            path = Path(folder) / f"{i}_{what}.{format.lower()}"
            path.write_bytes(damaged(data, what, rng))
            out = Path(folder) / f"{i}.{('png', 'jpg', 'tif', 'webp')[i % 4]}"
            start = time.monotonic()
            answer = worker.ask(path, out)
            worst["seconds"] = max(worst["seconds"], round(time.monotonic() - start, 2))
            worst["peak_mb"] = max(worst["peak_mb"], answer.get("peak_mb", 0.0))
            counts["cases"] += 1
            counts[answer["outcome"]] += 1
            if answer["outcome"] in ("crashes", "hangs"):
                worst["faults"].append(f"{path.name}: {answer.get('why', '')}"[:300])
            whole = not out.exists() or readable(out)
            if not whole or (answer["outcome"] == "refused" and out.exists()):
                counts["half_written"] += 1
            counts["half_written"] += len(list(Path(folder).glob(".*.part")))
            for left in Path(folder).iterdir():
                left.unlink()
        worker.end()
    return counts | worst


def readable(path: Path) -> bool:
    """Whether Pillow, or tifffile for a TIFF, reads it to its end."""
    import tifffile

    try:
        if path.suffix == ".tif":
            tifffile.imread(path)
        else:
            with Image.open(path) as picture:
                picture.load()
    except Exception:
        return False
    return True


def damaged(data: bytes, what: str, rng: np.random.Generator) -> bytes:
    """A file with one kind of damage."""
    out = bytearray(data)
    if what == "cut":
        return data[: int(rng.integers(1, len(data)))]
    if what == "empty":
        return b""
    if what == "zeros":
        start = int(rng.integers(len(data)))
        out[start : start + int(rng.integers(1, 200))] = bytes(1)
    if what in ("bits", "bytes"):
        for place in rng.integers(0, len(data), int(rng.integers(1, 12))):
            out[place] = out[place] ^ (1 << int(rng.integers(8))) if what == "bits" else int(rng.integers(256))
    if what == "header":
        for place in rng.integers(0, min(64, len(data)), 3):
            out[place] = int(rng.integers(256))
    if what == "swapped":  # the beginning of another format
        out[:12] = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"RIFF")[int(rng.integers(4))].ljust(12, b"\0")
    if what == "claims":
        return claims(int(rng.integers(6)))
    if what == "small":
        return saved(Image.new("RGB", (1, 1), (1, 2, 3)), ("PNG", "JPEG", "TIFF", "WEBP", "AVIF")[int(rng.integers(5))])
    if what == "wide":
        sizes = ((65535, 1), (1, 65535), (65500, 3), (16383, 2))
        return saved(Image.new("L", sizes[int(rng.integers(4))]), ("PNG", "TIFF", "BMP")[int(rng.integers(3))])
    if what == "animated":
        frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(20)]
        format = ("GIF", "WEBP", "PNG", "TIFF")[int(rng.integers(4))]
        whole = saved(frames[0], format, save_all=True, append_images=frames[1:])
        return whole[: int(rng.integers(len(whole) // 2, len(whole) + 1))]
    return bytes(out)


def claims(which: int) -> bytes:
    """Headers that claim very much, with next to nothing behind them, or a great deal of zeros."""
    side, depth = ((60_000, 8), (60_000, 16), (2**31 - 1, 16), (10_000, 16), (12_000, 8), (20_000, 8))[which]
    if which < 4:
        head = struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0)
        body = chunk(b"IDAT", zlib.compress(bytes(10**6)))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
    if which == 4:  # a TIFF whose one strip is said to be deflated
        tags = ((256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 8), (262, 3, 1), (273, 4, 134), (277, 3, 1))
        tags += ((278, 4, side), (279, 4, 1000))
        body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        return (
            struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + body + bytes(4) + bytes(12) + zlib.compress(bytes(10**6))
        )
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(50)


def saved(picture: Image.Image, format: str, **options) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def dng() -> bytes:
    """A small linear DNG of our own."""
    from restore_jax.photo.photo import Photo, save_photo

    with tempfile.TemporaryDirectory() as folder:
        pixels = np.random.default_rng(0).integers(0, 65536, (64, 80, 3), dtype=np.uint16)
        save_photo(Path(folder) / "x.dng", Photo(pixels=pixels, depth=16))
        return (Path(folder) / "x.dng").read_bytes()


class Worker:
    """A process that opens and saves what it is told; begun anew when it dies or hangs."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Starts it."""
        command = [sys.executable, "-m", "benchmarks.photo_files", "_worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.line()

    def line(self, seconds: float = 60.0) -> bytes | None:
        """Its next line; None after that time, empty when it died."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if waiting.select(seconds) else None

    def ask(self, path: Path, out: Path) -> dict:
        """What became of a file."""
        self.process.stdin.write(f"{path}\t{out}\n".encode())
        self.process.stdin.flush()
        line = self.line(LIMIT_S)
        if line:
            return json.loads(line)
        self.end()
        code = self.process.returncode
        self.begin()
        return {"outcome": "hangs"} if line is None else {"outcome": "crashes", "why": f"exit status {code}"}

    def end(self) -> None:
        """Ends it."""
        self.process.kill() if self.process.poll() is None else None
        self.process.wait()


def work() -> None:
    """The process: a line of two paths in, a line of JSON out."""
    import resource

    from restore_jax.photo.photo import open_photo, save_photo
    from restore_jax.photo.read import PhotoError

    for name in ("imagecodecs", "pillow_heif", "rawpy", "tifffile"):  # their memory is not the files'
        importlib.import_module(name)

    warnings.simplefilter("ignore")
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + LIMIT_BYTES, in_use + LIMIT_BYTES))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # decoders that print do not disturb
    print(json.dumps({}), file=answers, flush=True)
    for line in sys.stdin:
        path, out = line.rstrip("\n").split("\t")
        try:
            photo = open_photo(path)
            save_photo(out, photo.restored(photo.x) if photo.pixels.size < 10**7 else photo)
            answer = {"outcome": "opened"}
        except PhotoError as error:
            honest = path in str(error) and "\n" not in str(error)
            answer = {"outcome": "refused"} if honest else {"outcome": "crashes", "why": f"said {error}"}
        except ValueError as error:  # a format's limit on sizes
            honest = (path in str(error) or out in str(error)) and "\n" not in str(error)
            answer = {"outcome": "refused" if honest else "crashes", "why": f"ValueError {error}"}
        except BaseException as error:
            answer = {"outcome": "crashes", "why": f"{type(error).__name__} {error}"}
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)
