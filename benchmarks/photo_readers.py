"""Photograph files read by others: libvips and exiftool, for `benchmarks.photo_files`."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of 8 bits."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-12)))


def by_vips(path: Path, shape: tuple[int, ...], dtype) -> np.ndarray | None:
    """The samples as libvips reads them; None where it is not installed."""
    if shutil.which("vips") is None:
        return None
    raw = path.with_suffix(".raw")
    subprocess.run(["vips", "rawsave", str(path), str(raw)], check=True, capture_output=True)
    data = np.frombuffer(raw.read_bytes(), dtype)
    raw.unlink()
    return data.reshape(shape) if data.size == np.prod(shape) else data


def by_exiftool(folder: Path) -> dict[str, dict] | None:
    """All fields of all files, by file name; None where it is not installed."""
    if shutil.which("exiftool") is None:
        return None
    command = ["exiftool", "-j", "-n", "-b", "-a", "-G1", "-Warning", "-Error", "-ICC_Profile", "-ThumbnailImage"]
    command += ["-IFD0:all", "-ExifIFD:all", "-GPS:all", "-XMP:all", "-File:all", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    return {Path(entry["SourceFile"]).name: entry for entry in json.loads(done.stdout)}
