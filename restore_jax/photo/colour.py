"""A file's own colours as sRGB and back, in float: `Colours(mode, icc).to_srgb(samples)`, `.from_srgb(x)`.

    L       grey: the three channels of sRGB; back by luma, which gives grey back exactly
    RGB     by the profile, where there is one that differs from sRGB by half a level of 8 bits somewhere
    CMYK    by the profile, or (1 - c)(1 - k); back with as little black as the channels allow
    LAB     CIE L*a*b* under D50

Profiles go through LittleCMS in float32, relative colorimetric with black point compensation: 5 to 10 MP/s a core.
"""

import functools
import io
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

CHANNELS = {"L": 1, "RGB": 3, "CMYK": 4, "LAB": 3}
KINDS = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
# XYZ under D50 to linear sRGB: the sRGB primaries adapted by Bradford's matrix, as ICC's sRGB profile has them.
TO_LINEAR = np.linalg.inv(
    np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
)
MISSING = "Colour profiles need imagecodecs: pip install imagecodecs."


@dataclass(frozen=True)
class Colours:
    """The colours of a file: its mode and, where it matters, its ICC profile."""

    mode: str
    icc: bytes | None = None

    @property
    def exact(self) -> bool:
        """Whether sRGB in [0, 1] holds every colour: the way there and back changes rounding only."""
        return self.icc is None and self.mode in ("L", "RGB")

    def to_srgb(self, samples: Float32[np.ndarray, "h w c"]) -> Float32[np.ndarray, "h w 3"]:
        """Samples in [0, 1] as sRGB; what sRGB cannot hold lies outside [0, 1]."""
        if self.icc is not None:
            return _transform(samples, self.icc, _srgb(), self.mode, "RGB")
        if self.mode == "L":
            return np.repeat(samples, 3, axis=-1)
        if self.mode == "CMYK":
            return (1 - samples[..., :3]) * (1 - samples[..., 3:])
        return _lab_to_srgb(samples) if self.mode == "LAB" else samples

    def from_srgb(self, x: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w c"]:
        """The samples that stand for `x`; for CMYK one choice of many."""
        if self.icc is not None:
            return _transform(x, _srgb(), self.icc, "RGB", self.mode)
        if self.mode == "L":
            return (x @ LUMA)[..., None]
        if self.mode == "CMYK":
            most = np.maximum(x.max(axis=-1, keepdims=True), 1e-6)
            return np.concatenate([1 - x / most, 1 - most], axis=-1)
        return _srgb_to_lab(x) if self.mode == "LAB" else x


@functools.lru_cache(maxsize=16)
def colours(mode: str, icc: bytes | None, name: str) -> Colours:
    """The colours of a file; an unusable profile is said and left aside, one that says sRGB is not needed."""
    if icc is None or mode not in KINDS:
        return Colours(mode)
    codec()
    try:
        if icc[16:20] != KINDS[mode]:
            raise ValueError(f"a profile for {icc[16:20].decode('latin1').strip()} on {mode} pixels")
        own = Colours(mode, icc)
        steps = np.linspace(0, 1, 9 if CHANNELS[mode] == 3 else 5, dtype=np.float32)
        grid = np.stack(np.meshgrid(*[steps] * CHANNELS[mode]), -1).reshape(-1, 1, CHANNELS[mode])
        x = own.to_srgb(grid)
        own.from_srgb(np.clip(x, 0, 1))
    except Exception as error:  # a broken profile, or one without the way back
        why = " ".join(str(error).split())
        warnings.warn(f"{name}: unusable ICC profile ({why}); taken as sRGB.", stacklevel=3)
        return Colours(mode)
    if not np.isfinite(x).all():
        warnings.warn(f"{name}: unusable ICC profile (colours without end); taken as sRGB.", stacklevel=3)
        return Colours(mode)
    if mode != "CMYK" and np.abs(x - grid).max() < 0.5 / 255:  # nearer than half a level of 8 bits
        return Colours(mode)
    return own


def codec():
    """The module imagecodecs.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise ImportError(MISSING) from error
    return imagecodecs


@functools.cache
def _srgb() -> bytes:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    file = io.BytesIO(profile.tobytes())
    return file.getvalue()


def _transform(samples: np.ndarray, source: bytes, target: bytes, mode: str, to: str) -> np.ndarray:
    cms = codec()
    names = {"L": "gray", "RGB": "rgb", "CMYK": "cmyk"}
    values = samples * np.float32(100) if mode == "CMYK" else samples  # LittleCMS counts ink in hundredths
    values = np.ascontiguousarray(values[..., 0] if mode == "L" else values, np.float32)
    out = cms.cms_transform(
        values,
        source,
        target,
        colorspace=names[mode],
        outcolorspace=names[to],
        outdtype=np.float32,
        intent=cms.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=cms.CMS.FLAGS.BLACKPOINTCOMPENSATION,
    )
    out = out.reshape(*samples.shape[:2], CHANNELS[to])
    return out / np.float32(100) if to == "CMYK" else out


def _lab_to_srgb(samples: np.ndarray) -> np.ndarray:
    """L in hundredths; a and b are bytes about 128."""
    light = (samples[..., 0] * 100 + 16) / 116
    a, b = (samples[..., i] * 255 - 128 for i in (1, 2))
    f = np.stack([light + a / 500, light, light - b / 200], -1).astype(np.float64)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE_D50
    linear = xyz @ TO_LINEAR.T
    encoded = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, encoded, 12.92 * linear).astype(np.float32)


def _srgb_to_lab(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    linear = np.where(x > 0.04045, ((np.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)
    t = linear @ np.linalg.inv(TO_LINEAR).T / WHITE_D50
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    light = (116 * f[..., 1] - 16) / 100
    a, b = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return np.stack([light, (a + 128) / 255, (b + 128) / 255], -1).astype(np.float32)
