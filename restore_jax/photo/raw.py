"""A raw file becomes light: `read_dng(path) -> (raw h w 1, Camera)`, for `ops.camera.develop`.

Reading needs rawpy, the extra "raw". Any file that LibRaw decodes to a Bayer mosaic will do, not only DNG.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from restore_jax.ops.bayer import PATTERNS
from restore_jax.ops.camera import Camera, colour_matrix
from restore_jax.photo.read import PhotoError

MISSING = 'Raw files need the extra "raw": pip install "restore-jax[raw]".'


def read_dng(path: str | Path) -> tuple[Float32[np.ndarray, "h w 1"], Camera]:
    """The mosaic, 0 at the black level and 1 at the white level, and what the file says of its camera.

    Values below black and above white are kept. The white balance is the one that the camera chose (daylight where it
    chose none), and `ccm` is the file's matrix to sRGB. Neither cropped beyond the masked border nor turned: a camera
    held upright leaves a picture that lies on its side.

    Raises:
        ImportError: rawpy is not installed.
        PhotoError: missing, damaged, not a raw file, or not a Bayer mosaic.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImportError(MISSING) from error
    if not Path(path).is_file():
        raise PhotoError(f"{path}: no such file.")
    try:
        with rawpy.imread(str(path)) as file:
            return _read(file, str(path))
    except rawpy.LibRawError as error:
        raise PhotoError(f"{path}: not a readable raw file ({error}).") from error


def _read(file, name: str) -> tuple[np.ndarray, Camera]:
    tile = file.raw_pattern
    letters = file.color_desc.decode().lower()
    pattern = "" if tile is None else "".join(letters[i] for i in tile.ravel())
    if pattern not in PATTERNS:
        raise PhotoError(f"{name}: not a Bayer mosaic of red, green and blue; only those are read.")
    values = file.raw_image_visible.astype(np.float32)
    h, w = values.shape
    black = np.asarray(file.black_level_per_channel, np.float32)[tile]
    black = np.tile(black, (-(-h // 2), -(-w // 2)))[:h, :w]
    raw = (values - black) / (np.float32(file.white_level) - black)
    balance = np.asarray(file.camera_whitebalance[:3], np.float64)
    if not np.all(balance > 0):
        balance = np.asarray(file.daylight_whitebalance[:3], np.float64)
    red, blue = (float(balance[i] / balance[1]) for i in (0, 2))
    return raw[..., None], Camera(red_gain=red, blue_gain=blue, ccm=_matrix(file, name), pattern=pattern)


def _matrix(file, name: str) -> tuple[tuple[float, ...], ...]:
    """Camera to linear sRGB: the file's, or from the matrix that LibRaw knows of the model."""
    stated = np.asarray(file.color_matrix, np.float64)[:, :3]
    known = np.asarray(file.rgb_xyz_matrix, np.float64)[:3]
    if np.all(stated.sum(axis=1) > 0):
        ccm = stated / stated.sum(axis=1, keepdims=True)
    elif np.any(known):
        ccm = np.asarray(colour_matrix(jnp.asarray(known, jnp.float32)), np.float64)
    else:
        raise PhotoError(f"{name}: neither the file nor LibRaw states the colours of this camera.")
    return tuple(tuple(float(v) for v in row) for row in ccm)
