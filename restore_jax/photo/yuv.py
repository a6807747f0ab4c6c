"""The planes of a video frame as R'G'B', and the way back: matrix, range, depth, and where the colour samples lie.

    E_R = E_Y + 2 (1 - kr) E_Cr,    E_B = E_Y + 2 (1 - kb) E_Cb,    E_Y = kr E_R + (1 - kr - kb) E_G + kb E_B

with limited range `Y = (219 E_Y + 16) 2^(n - 8)`, `C = (224 E_C + 128) 2^(n - 8)`, and full range
`Y = (2^n - 1) E_Y`, `C = (2^n - 1) E_C + 2^(n - 1)`. R'G'B' has the transfer function and the primaries of the file:
they are carried, not converted.

Halved colour samples lie on the even columns, and half way between two rows (MPEG-2's and H.264's place); they are
enlarged linearly. What a restorer is not shown (codes outside R'G'B', what the enlarging invents) goes beside it:

    planes_hat = planes_of(x_hat) + (planes - planes_of(x))

so that what it leaves alone comes back code for code.

Reference: ITU-T H.273, section 8.3 (matrix coefficients, VideoFullRangeFlag).
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from restore_jax.photo.scaling import Scaling

Planes = tuple[np.ndarray, ...]

# kr and kb by the number of H.273; 2 says that nothing is known.
MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
            9: (0.2627, 0.0593)}  # fmt: skip
UNKNOWN, RGB = 2, 0

_NAME = re.compile(r"(?:yuv(?P<chroma>420|422|440|444)p|(?P<rgb>gbrp)|(?P<grey>gray))(?P<depth>\d+)?(?:le)?")
_STEPS = {"420": (2, 2), "422": (1, 2), "440": (2, 1), "444": (1, 1)}


@dataclass(frozen=True)
class Layout:
    """How the samples of a frame lie in planes: FFmpeg's planar formats `yuv4xxp`, `gbrp` and `gray`.

    `steps` is the distance of colour samples, in rows and columns.
    """

    kind: str
    depth: int = 8
    steps: tuple[int, int] = (1, 1)

    @property
    def dtype(self) -> type:
        """Of a sample."""
        return np.uint8 if self.depth == 8 else np.uint16

    def shapes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Of the planes of a frame."""
        down, across = self.steps
        colour = (-(-height // down), -(-width // across))
        return ((height, width), colour, colour)[: 1 if self.kind == "grey" else 3]


def layout(name: str) -> Layout | None:
    """The layout of a format by FFmpeg's name, or None where it is not planar, has alpha, or is big-endian.

    `yuvj420p` is `yuv420p`, whose range is full.
    """
    found = _NAME.fullmatch(name.replace("yuvj", "yuv"))
    if found is None:
        return None
    depth = int(found["depth"] or 8)
    if found["chroma"]:
        return Layout("yuv", depth, _STEPS[found["chroma"]])
    return Layout("rgb" if found["rgb"] else "grey", depth)


def nearest(wanted: Layout, names: tuple[str, ...]) -> str:
    """Of an encoder's formats, the one that loses least of `wanted`, and then adds least.

    Raises:
        ValueError: none is planar.
    """

    def cost(name: str) -> tuple:
        have = layout(name)
        assert have is not None
        kind = {"yuv": 0, "rgb": 2, "grey": 1}
        grey_as_yuv = wanted.kind == "grey" and have.kind == "yuv"
        lost = have.kind != wanted.kind and not grey_as_yuv
        coarse = sum(h > w for h, w in zip(have.steps, wanted.steps)) if wanted.kind != "grey" else 0
        fine = sum(h < w for h, w in zip(have.steps, wanted.steps)) if wanted.kind != "grey" else -sum(have.steps)
        more = abs(have.depth - wanted.depth)
        return (lost, coarse, have.depth < wanted.depth, kind[have.kind] if lost else grey_as_yuv, more, fine, name)

    known = [name for name in names if layout(name) is not None and "yuvj" not in name]
    if not known:
        raise ValueError(f"nearest: none of the formats {', '.join(names) or '(none)'} is planar.")
    return min(known, key=cost)


@dataclass(frozen=True)
class Coding:
    """What the codes of a frame mean.

    `matrix` is the number of H.273 (2: unknown, then BT.709 from 720 rows on and BT.601 below, as players do).

    Raises:
        ValueError: a matrix that is not kr and kb: YCgCo, ICtCp, constant luminance.
    """

    layout: Layout
    matrix: int = UNKNOWN
    full: bool = False
    rows: int = 1080

    def __post_init__(self) -> None:
        if self.layout.kind == "yuv" and self.matrix not in (*MATRICES, UNKNOWN, 3, RGB):
            raise ValueError(
                f"Coding.matrix is one of {sorted(MATRICES)} of H.273, or {UNKNOWN} for unknown, not {self.matrix}: "
                "convert the video first (ffmpeg -vf colorspace or zscale)."
            )

    @property
    def weights(self) -> tuple[float, float]:
        """`kr` and `kb`."""
        return MATRICES.get(self.matrix, MATRICES[1 if self.rows >= 720 else 6])

    def _scales(self) -> tuple[float, float, float, float]:
        """Gain and offset of luma, gain and offset of colour, in codes."""
        unit = 2.0 ** (self.layout.depth - 8)
        if self.full or self.layout.kind == "rgb":
            top = 2.0**self.layout.depth - 1
            return top, 0.0, top, 128.0 * unit
        return 219.0 * unit, 16.0 * unit, 224.0 * unit, 128.0 * unit

    def rgb(self, planes: Planes) -> Float32[np.ndarray, "h w 3"]:
        """R'G'B' of codes, not clipped."""
        gain, offset, gain_c, offset_c = self._scales()
        if self.layout.kind == "rgb":  # green, blue, red
            green, blue, red = (np.asarray(p, np.float32) / np.float32(gain) for p in planes)
            return np.stack([red, green, blue], axis=-1)
        y = (np.asarray(planes[0], np.float32) - np.float32(offset)) / np.float32(gain)
        if self.layout.kind == "grey":
            return np.repeat(y[..., None], 3, axis=-1)
        cb, cr = (
            (enlarged(np.asarray(p, np.float32), self.layout.steps, y.shape) - np.float32(offset_c))
            / np.float32(gain_c)
            for p in planes[1:]
        )
        kr, kb = (np.float32(k) for k in self.weights)
        red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1)

    def codes(self, rgb: Float32[np.ndarray, "h w 3"]) -> Planes:
        """The planes of R'G'B', as float32, not rounded."""
        gain, offset, gain_c, offset_c = (np.float32(v) for v in self._scales())
        red, green, blue = (rgb[..., i] for i in range(3))
        if self.layout.kind == "rgb":
            return tuple(gain * v for v in (green, blue, red))
        kr, kb = (np.float32(k) for k in self.weights)
        y = kr * red + (1 - kr - kb) * green + kb * blue
        if self.layout.kind == "grey":
            return (gain * y + offset,)
        cb, cr = (reduced((v - y) / (2 * (1 - k)), self.layout.steps) for v, k in ((blue, kb), (red, kr)))
        return gain * y + offset, gain_c * cb + offset_c, gain_c * cr + offset_c

    def shown(self, planes: Planes) -> Float32[np.ndarray, "h w 3"]:
        """What a restorer is given: R'G'B' in [0, 1]."""
        return np.clip(self.rgb(planes), 0, 1)

    def restored(self, planes: Planes, x_hat: Float32[np.ndarray, "H W 3"], into: "Coding | None" = None) -> Planes:
        """The planes of a restored picture of any size, in this coding or in another, rounded.

        Code for code the given ones where `x_hat == shown(planes)`, in this coding and in one that holds it.

        Raises:
            ValueError: `x_hat` holds NaN or infinity.
        """
        if not np.isfinite(x_hat).all():
            raise ValueError("Coding.restored: the restored frame holds NaN or infinity.")
        into = self if into is None else into
        x_hat = np.clip(np.asarray(x_hat, np.float32), 0, 1)
        out = into.codes(x_hat)
        if into.layout.kind == self.layout.kind:
            own = self.codes(self.shown(planes))
            out = tuple(
                a + into._beside(self, np.asarray(p, np.float32) - b, a.shape, i)
                for i, (a, p, b) in enumerate(zip(out, planes, own))
            )
        top = 2**into.layout.depth - 1
        return tuple(np.clip(np.rint(p), 0, top).astype(into.layout.dtype) for p in out)

    def _beside(self, source: "Coding", rest: np.ndarray, shape: tuple[int, int], i: int) -> np.ndarray:
        """What was not shown, at the size and in the unit of this coding."""
        which = 2 if i and self.layout.kind == "yuv" else 0
        rest = rest * np.float32(self._scales()[which] / source._scales()[which])
        if rest.shape == shape:
            return rest
        scaling = Scaling(rest.shape[0], rest.shape[1], *shape)
        return scaling.rows(rest[..., None], 0, shape[0])[..., 0]

    def deeper(self, other: Layout) -> "Coding":
        """The same meaning in another layout."""
        return replace(self, layout=other)


def enlarged(
    plane: Float32[np.ndarray, "p q"], steps: tuple[int, int], shape: tuple[int, ...]
) -> Float32[np.ndarray, "h w"]:
    """Colour samples at every pixel, linearly: on the even columns, and half way between two rows."""
    down, across = steps
    if across == 2:
        right = np.concatenate([plane[:, 1:], plane[:, -1:]], axis=1)
        plane = np.stack([plane, (plane + right) / 2], axis=2).reshape(plane.shape[0], -1)
    if down == 2:
        above = np.concatenate([plane[:1], plane[:-1]], axis=0)
        below = np.concatenate([plane[1:], plane[-1:]], axis=0)
        near = np.float32(0.75) * plane
        plane = np.stack([near + above / 4, near + below / 4], axis=1).reshape(-1, plane.shape[1])
    return plane[: shape[0], : shape[1]]


def reduced(plane: Float32[np.ndarray, "h w"], steps: tuple[int, int]) -> Float32[np.ndarray, "p q"]:
    """Colour at its own places: columns by (1, 2, 1) / 4 at the even ones, rows by their means in pairs."""
    down, across = steps
    if across == 2:
        left = np.concatenate([plane[:, :1], plane[:, 1::2]], axis=1)[:, : -(-plane.shape[1] // 2)]
        even = plane[:, ::2]
        right = plane[:, 1::2]
        if right.shape[1] < even.shape[1]:
            right = np.concatenate([right, even[:, -1:]], axis=1)
        plane = (left + 2 * even + right) / 4
    if down == 2:
        odd = plane[1::2]
        if odd.shape[0] < -(-plane.shape[0] // 2):
            odd = np.concatenate([odd, plane[-1:]], axis=0)
        plane = (plane[::2] + odd) / 2
    return plane
