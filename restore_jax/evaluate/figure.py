"""Pictures side by side, with their names, that one person can show to another."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import ArrayLike, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from restore_jax.photo.write import to_uint8


def panels(
    pictures: Mapping[str, np.ndarray], title: str = "", columns: int = 3, width_px: int = 384
) -> UInt8[np.ndarray, "h w 3"]:
    """The pictures in rows of `columns`, each under its label (which may have two lines).

    All are shown `width_px` wide, enlarged by repeated pixels where they are smaller, so that what is
    seen is what is there.
    """
    tiles = {label: _shown(picture, width_px) for label, picture in pictures.items()}
    gap, line = 12, 22
    text = line * max(label.count("\n") + 1 for label in tiles) + 6
    height = max(tile.height for tile in tiles.values())
    rows = -(-len(tiles) // columns)
    top = 44 if title else gap
    sheet = Image.new("RGB", (gap + columns * (width_px + gap), top + rows * (height + text + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((gap, 12), title, fill="black", font=ImageFont.load_default(20))
    for k, (label, tile) in enumerate(tiles.items()):
        left = gap + k % columns * (width_px + gap)
        upper = top + k // columns * (height + text + gap)
        draw.multiline_text((left, upper), label, fill="black", font=ImageFont.load_default(16), spacing=5)
        sheet.paste(tile, (left, upper + text))
    return np.asarray(sheet)


def visible(y: ArrayLike) -> Float[np.ndarray, "h w 3"]:
    """What can be shown of an observation: the first frame of several; in colour, or its first channel in grey."""
    picture = np.asarray(y)
    picture = picture.reshape(-1, *picture.shape[-3:])[0]
    return picture if picture.shape[-1] == 3 else np.repeat(picture[..., :1], 3, axis=-1)


def _shown(picture: np.ndarray, width_px: int) -> Image.Image:
    image = Image.fromarray(to_uint8(picture))
    height = round(image.height * width_px / image.width)
    enlarge = width_px >= image.width
    return image.resize((width_px, height), Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS)
