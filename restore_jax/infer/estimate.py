"""What is wrong with a photograph: noise, blur and blockiness, from its pixels; JPEG quality, from its file.

    noise        eigenvalues of small patches' covariance: the small ones are the noise's        [0, 1]
    blur         how much an edge loses when it is blurred once more                             pixels
    blockiness   steps across the 8 x 8 grid over steps elsewhere, 1 where there is no grid      ratio
    quality      the quantisation tables against those of Annex K                                1 .. 100

On the host, in numpy. How far each is off on photographs harmed by known amounts stands in
`tests/infer/test_estimate.py`.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image

from restore_jax.infer.bands import to_float
from restore_jax.ops.jpeg import quantisation_tables

Picture = Shaped[Any, "h w c"]
_PATCH, _PATCHES, _SIDE = 7, 60_000, 2048


def noise_std(y: Picture) -> float:
    """The standard deviation of white noise in y, mean of its channels; of pictures in [0, 1].

    The eigenvalues of the covariance of 7 x 7 patches are the noise's variance, and more where there is structure: the
    largest are left out until the mean of the others is their median. Texture counts as noise, so that one finds
    `sqrt(own^2 + added^2)`, own up to 0.03 in detailed photographs; noise that was smoothed, by demosaicking or JPEG,
    is found in part. 0.1 s a megapixel, 60,000 patches at most.

    Reference: Chen, Zhu and Heng 2015, "An efficient statistical method for image noise level estimation", algorithm 1.
    """
    y = _floats(y, 4096)
    h, w, c = y.shape
    if min(h, w) < 2 * _PATCH:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(y, (_PATCH, _PATCH), axis=(0, 1))
    step = max(1, int(np.ceil(np.sqrt(windows.shape[0] * windows.shape[1] / _PATCHES))))
    found = []
    for channel in range(c):
        patches = windows[::step, ::step, channel].reshape(-1, _PATCH * _PATCH).astype(np.float64)
        values = np.sort(np.linalg.eigvalsh(np.cov(patches, rowvar=False)))
        keep = len(values)
        while keep > 1 and values[:keep].mean() > np.median(values[:keep]):
            keep -= 1
        found.append(max(0.0, float(np.median(values[:keep]))) ** 0.5)
    return float(np.mean(found))


def blur_px(y: Picture) -> float:
    """The deviation, in pixels, of the Gaussian blur that its sharpest edges seem to have: `sqrt(own^2 + added^2)`.

    A step blurred by s has the slope `1 / (s sqrt(2 pi))`. Blurred once more by r it has `s / sqrt(s^2 + r^2)` of that:
    the quotient R of the slopes tells `s = r / sqrt(R^2 - 1)`. Median over the steepest hundredth of the pixels, with
    r = 1 and s up to 5 or so; a photograph that is sharp has 0.5 to 0.9. Noise sharpens: it makes R larger.

    Reference: Zhuo and Sim 2011, "Defocus map estimation from a single image", section 3.
    """
    from scipy.ndimage import gaussian_filter

    grey = _floats(y, _SIDE).mean(-1)
    if min(grey.shape) < 8:
        return 0.0

    def slope(x: np.ndarray) -> np.ndarray:
        down, across = np.gradient(x)
        return np.hypot(down, across)

    own, more = slope(grey), slope(gaussian_filter(grey, 1.0, mode="reflect"))
    steep = own >= max(np.quantile(own, 0.99), 1e-6)
    if not steep.any():
        return 0.0
    quotient = np.median(own[steep] / np.maximum(more[steep], 1e-9))
    return float(1.0 / np.sqrt(max(quotient**2 - 1.0, 0.01)))


def blockiness(y: Picture) -> float:
    """The mean step across the borders of an 8 x 8 grid, over the mean of those three or more pixels away; 1 for none.

    Steps are second differences, so that slopes cancel: `|(y_4 - y_5) - ((y_3 - y_4) + (y_5 - y_6)) / 2|`. Both axes
    are added. Of a crop the grid may lie anywhere: the phase with the largest quotient is taken, which lifts the
    quotient of a small picture without a grid a little above 1.
    """
    grey = _floats(y, 4096).mean(-1)
    if min(grey.shape) < 24:
        return 1.0
    best = []
    for x in (grey, grey.T):
        step = np.diff(x, axis=0)
        bend = np.abs(step[1:-1] - 0.5 * (step[:-2] + step[2:])).mean(1)
        phases = np.array([bend[phase::8].mean() for phase in range(8)]) + 1e-6
        quotients = [phases[p] / np.mean([phases[(p + away) % 8] for away in (3, 4, 5)]) for p in range(8)]
        best.append(max(quotients))
    return float(np.mean(best))


def jpeg_quality(file: str | Path | bytes) -> float | None:
    """The quality, 1 to 100, that libjpeg would have written a file's luma with; None where it is no JPEG.

    The quality whose table lies nearest in the mean of absolute differences: the one it was written with, for libjpeg,
    and the nearest in strength for cameras with tables of their own. A file that was saved before at less shows
    the last time only; its `blockiness` shows the first.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
            tables = getattr(picture, "quantization", None)
    except Image.UnidentifiedImageError:
        return None
    if not tables:
        return None
    luma = np.asarray(next(iter(tables.values()))).reshape(8, 8)
    off = [np.abs(np.asarray(quantisation_tables(float(q)))[0] - luma).mean() for q in range(1, 101)]
    return float(1 + int(np.argmin(off)))


ESTIMATES = {"noise": noise_std, "blur": blur_px, "blockiness": blockiness}


def _floats(y: Picture, side: int) -> Float[np.ndarray, "h w c"]:
    """The middle of y, `side` pixels a side at most, on multiples of 8, in float32."""
    y = np.asarray(y)
    top, left = (max(0, (n - side) // 2) // 8 * 8 for n in y.shape[:2])
    return to_float(y[top : top + side, left : left + side])
