"""A photograph through a restorer: `restore(tiled(load("model")), open_photo("in.jpg"), key) -> Photo`."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float32
from numpy import ndarray

from restore_jax.core import Keys, Observation, Restorer
from restore_jax.infer.tile import Progress, Tile
from restore_jax.photo.photo import Photo

TILE_PX = 256


@dataclass(frozen=True, eq=False)
class Rows:
    """A photograph as a source of rows for `Tile.stream`: float32 sRGB, made as asked for; black where `seen` is 0."""

    photo: Any
    seen: Float32[ndarray, "h w 1"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and three channels."""
        return self.photo.height, self.photo.width, 3

    def rows(self, top: int, bottom: int) -> Float32[ndarray, "n w 3"]:
        """The rows from `top` to `bottom - 1`."""
        rows = self.photo.rows(top, bottom)
        return rows if self.seen is None else rows * self.seen[top:bottom]


def tiled(restorer: Restorer, tile_px: int = TILE_PX, overlap_px: int | None = None) -> Tile:
    """`restorer` on tiles of one size, so that one compiled program serves all photographs that are as large.

    The tile is `tile_px`, or four halos where that is more (half of its area then answers for pixels), rounded up to
    the network's grid. `overlap_px` is None for the restorer's own halo, as in `Tile`.

    Raises:
        ValueError: `tile_px` is less than 1, or `overlap_px` negative.
    """
    if tile_px < 1:
        raise ValueError(f"tiled.tile_px must be at least 1, not {tile_px}.")
    free = Tile(restorer, overlap_px=overlap_px)
    side = max(tile_px, 4 * free.halo)
    return Tile(restorer, -(-side // free.unit) * free.unit, overlap_px)


def restore(
    restorer: Tile, photo: Photo, key: Keys, progress: Progress | None = None, obs: Observation | None = None
) -> Photo:
    """The restored photograph, with its own colours, depth, alpha and metadata, held as its file has it.

    `progress(done, total)` is called after each batch of tiles; `obs` is what else is known, as in `Tile.stream`.

    Raises:
        ValueError: the restorer gave NaN or infinity.
        MemoryError: even the smallest tile does not fit.
    """
    sink = photo.sink(photo.height * restorer.scale, photo.width * restorer.scale)
    restorer.stream(key, Rows(photo), sink, obs, progress=progress)
    return sink.photo()
