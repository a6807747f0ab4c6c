"""What a restoration did to a photograph, as one page: what changed, where it guesses, whether it still explains y.

    difference      |x_hat - y|, y enlarged by cubic resampling where it is smaller
    spread          the deviation of samples, or of mirrored answers (`infer.spread`)
    residual        |A x_hat - y| where the operator is known: cubic, antialiased reduction for enlargements
    doubt           the larger of spread and residual, each over its own noise level; above 1 is marked

The noise level of a map is `median + 3 * 1.4826 median|map - median|`, 1/255 at least: what most of this picture has.
A mark says "look here", no mark does not say "true": nothing here has seen the photograph that was harmed.
Everything is computed in bands at full size and shown as means over blocks, 1600 pixels a side at most.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Shaped
from PIL import Image

from restore_jax import __version__
from restore_jax.evaluate.page import PAGE, SECTION
from restore_jax.photo.photo import Photo
from restore_jax.photo.write import to_uint8, whole_file

SIDE, BAND, MARGIN = 1600, 256, 8
STOPS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]) / 255  # dark to bright


class Shrink:
    """A sink of rows that keeps the means over blocks, so that no side is longer than `side`."""

    def __init__(self, height: int, width: int, side: int = SIDE) -> None:
        self.block = max(1, -(-max(height, width) // side))
        self.rows: list[np.ndarray] = []
        self.left = np.zeros((0, 0, 0), np.float32)

    def write(self, rows: Float[np.ndarray, "n w c"]) -> None:
        """The next rows."""
        self.left = rows if not len(self.left) else np.concatenate([self.left, rows])
        whole = len(self.left) // self.block * self.block
        if whole:
            self.rows.append(self._means(self.left[:whole]))
            self.left = self.left[whole:].copy()

    def picture(self) -> Float32[np.ndarray, "p q c"]:
        """What was written, small; a last block that is not full is the mean of what it has."""
        if len(self.left):
            self.rows.append(self._means(self.left))
            self.left = self.left[:0]
        return np.concatenate(self.rows)

    def _means(self, rows: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            starts = np.arange(0, rows.shape[axis], self.block)
            counts = np.diff([*starts, rows.shape[axis]]).astype(np.float32)
            rows = np.add.reduceat(rows, starts, axis) / counts.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        return rows.astype(np.float32)


class Halves:
    """A sink that gives the first three channels to one sink and the mean of the others to another."""

    def __init__(self, first: Any, others: Any) -> None:
        self.first, self.others = first, others

    def write(self, rows: Float[np.ndarray, "n w c"]) -> None:
        """The next rows."""
        self.first.write(np.ascontiguousarray(rows[..., :3]))
        self.others.write(rows[..., 3:].mean(-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Maps:
    """The small pictures of a page, and the figures beside them."""

    before: Float32[np.ndarray, "p q 3"]
    after: Float32[np.ndarray, "p q 3"]
    maps: Mapping[str, Float32[np.ndarray, "r s"]]
    figures: Mapping[str, str] = field(default_factory=dict)


def maps_of(before: Photo, after: Photo, spread: Float32[np.ndarray, "p q 1"] | None = None) -> Maps:
    """The maps of a photograph and its restoration, of the same size or enlarged by a whole number.

    Raises:
        ValueError: the sizes are no multiples.
    """
    scale = after.height // before.height
    if (after.height, after.width) != (before.height * scale, before.width * scale):
        raise ValueError(
            f"maps_of.after is {after.width} x {after.height}, no multiple of {before.width} x {before.height}."
        )
    small, old, change = (Shrink(after.height, after.width) for _ in range(3))
    for top in range(0, after.height, BAND):
        new = after.rows(top, min(top + BAND, after.height))
        was = _resized_rows(before, scale, top, top + len(new))
        small.write(new)
        old.write(was)
        change.write(np.abs(new - was).mean(-1, keepdims=True))
    maps = {"difference": change.picture()[..., 0]}
    if spread is not None:
        maps["spread"] = spread[..., 0]
    if scale > 1:
        residual = Shrink(before.height, before.width)
        for top in range(0, before.height, BAND // scale):
            y = before.rows(top, min(top + BAND // scale, before.height))
            again = _resized_rows(after, 1 / scale, top, top + len(y))
            residual.write(np.abs(again - y).mean(-1, keepdims=True))
        maps["residual"] = residual.picture()[..., 0]
    figures = {f"mean {name}": f"{255 * float(one.mean()):.2f} / 255" for name, one in maps.items()}
    picture = small.picture()
    asked = [one for name, one in maps.items() if name != "difference"]
    if asked:
        size = picture.shape[:2]
        maps["doubt"] = np.max([_fitted(one / noise_level(one), size) for one in asked], axis=0)
        figures["marked as doubtful"] = f"{100 * float((maps['doubt'] > 1).mean()):.1f} % of the picture"
    return Maps(old.picture(), picture, maps, figures)


def noise_level(one: Float[np.ndarray, "h w"]) -> float:
    """`median + 3 * 1.4826 median|map - median|`, and 1/255 at least."""
    middle = np.median(one)
    return max(1 / 255, float(middle + 3 * 1.4826 * np.median(np.abs(one - middle))))


def _resized_rows(photo: Photo, scale: float | int, top: int, bottom: int) -> Float32[np.ndarray, "n w 3"]:
    """Rows top to bottom - 1 of the photograph resampled by `scale` (k or 1/k): cubic, antialiased, in bands."""
    if scale == 1:
        return photo.rows(top, bottom)
    step = scale if scale > 1 else 1 / scale
    margin = MARGIN if scale > 1 else round(MARGIN * step)
    if scale > 1:
        first, last = int(top // scale) - margin, int(-(-bottom // scale)) + margin
    else:
        first, last = round(top * step) - margin, round(bottom * step) + margin
    first, last = max(0, first), min(photo.height, last)
    rows = photo.rows(first, last)
    size = (round(photo.width * scale), round((last - first) * scale))
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(rows[..., c])).resize(size, Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    start = round(first * scale)
    return np.clip(np.stack(channels, -1)[top - start : bottom - start], 0, 1).astype(np.float32)


def _fitted(one: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if one.shape == tuple(size):
        return one
    picture = Image.fromarray(np.ascontiguousarray(one, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------

CAPTIONS = {
    "difference": "Difference |x_hat - y|: what the restoration changed.",
    "spread": "Spread: how far samples, or the answers to the mirrored picture, lie apart.",
    "residual": "Measurement residual |A x_hat - y|: what the restoration, reduced again, does not explain.",
    "doubt": "Doubt (hallucination map): red where spread or residual stands above this picture's noise level.",
}


def section(name: str, maps: Maps, facts: Mapping[str, Any]) -> str:
    """One photograph's part of the page; `facts` are listed as they are."""
    pictures = []
    for kind, one in maps.maps.items():
        if kind == "doubt":
            shown, top = _marked(maps.after, one), "red: above 1"
        else:
            most = max(float(np.quantile(one, 0.999)), 1 / 255)
            shown, top = heat(one / most), f"black 0, white {255 * most:.1f} / 255"
        caption = f"{CAPTIONS[kind]} <i>{top}</i>"
        pictures.append(f'<figure><img src="{_uri(shown)}" alt="{kind}"><figcaption>{caption}</figcaption></figure>')
    rows = "".join(
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in {**facts, **maps.figures}.items()
    )
    return SECTION.format(
        name=html.escape(name),
        before=_uri(maps.before),
        after=_uri(maps.after),
        maps="".join(pictures),
        rows=rows,
    )


def write_page(path: str | Path, sections: Sequence[str], facts: Mapping[str, Any], left_out: int = 0) -> None:
    """Writes the page, whole or not at all; it asks for nothing from anywhere.

    Raises:
        OSError: the folder is missing, the disk is full, or permission is denied.
    """
    facts = {"restore_jax": __version__, **facts}
    listed = "".join(f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    more = f"<p>{left_out} more photographs were restored and are not shown.</p>" if left_out else ""
    with whole_file(path) as out:
        out.write(PAGE.format(rows=listed, sections="".join(sections), more=more).encode())


def heat(one: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Numbers in [0, 1] as colours from black over purple and orange to a light yellow."""
    place = np.clip(one, 0, 1)
    at = np.linspace(0, 1, len(STOPS))
    return np.stack([np.interp(place, at, STOPS[:, c]) for c in range(3)], -1).astype(np.float32)


def _marked(picture: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    grey = 0.25 + 0.6 * picture.mean(-1, keepdims=True).repeat(3, -1)
    much = np.clip(doubt - 1, 0, 1)[..., None]
    red = np.array([0.9, 0.05, 0.05], np.float32).reshape(1, 1, 3)
    return np.where(much > 0, grey + (0.4 + 0.6 * much) * (red - grey), grey)


def _uri(picture: Shaped[np.ndarray, "h w 3"]) -> str:
    file = io.BytesIO()
    Image.fromarray(to_uint8(np.asarray(picture, np.float32))).save(file, "JPEG", quality=88, subsampling="4:4:4")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
