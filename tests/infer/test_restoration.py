"""A photograph through a restorer: its own samples come back where the restorer changes nothing, whatever the tiles."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.infer.restoration import Rows, restore, tiled
from restore_jax.infer.tile import Tile
from restore_jax.photo.photo import open_photo
from restore_jax.photo.write import write


class Same:
    """Gives y back."""

    scale, draws, factor, halo_px = 1, 0, 4, 3

    def __call__(self, key, obs):
        return jnp.asarray(obs.y)


class Twice(Same):
    """Each pixel as a square of four."""

    scale = 2

    def __call__(self, key, obs):
        return jnp.repeat(jnp.repeat(jnp.asarray(obs.y), 2, axis=-3), 2, axis=-2)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "in.png"
    write(path, np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8))
    return open_photo(path)


def test_rows_are_those_of_the_picture(photo):
    rows = Rows(photo)
    assert rows.shape == photo.x.shape
    np.testing.assert_array_equal(np.concatenate([rows.rows(0, 11), rows.rows(11, 37)]), photo.x)


def test_an_identity_keeps_every_level_and_says_how_far_it_is(photo, key):
    said = []
    back = restore(tiled(Same(), 16), photo, key, lambda done, total: said.append((done, total)))
    np.testing.assert_array_equal(back.pixels, photo.pixels)
    assert [done for done, _ in said] == sorted({done for done, _ in said})
    assert said[-1][0] == said[-1][1] > 1


def test_an_enlargement_has_the_pixels_of_the_whole(photo, key):
    big = restore(tiled(Twice(), 16), photo, key)
    np.testing.assert_array_equal(big.pixels, photo.pixels.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(("wanted", "halo", "side"), [(10, 3, 16), (33, 3, 36), (8, 50, 4 * 52)])
def test_a_tile_has_room_and_lies_on_the_grid(wanted, halo, side):
    """The halo of 3 becomes 4 on a grid of 4, that of 50 becomes 52; the tile has room for four."""
    restorer = Same()
    restorer.halo_px = halo
    found = tiled(restorer, wanted)
    assert isinstance(found, Tile)
    assert found.tile_px == side
    assert found.exact


def test_a_tile_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"tiled\.tile_px must be at least 1, not 0"):
        tiled(Same(), 0)
