import json
from dataclasses import dataclass, replace

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from restore_jax.build import build, spec_of
from restore_jax.data.pipeline import Pipeline, to_float
from restore_jax.data.sets.embedded import Embedded
from restore_jax.photo.write import to_uint8


class Made:
    """Photographs whose pixels say where they come from: (number, row, column)."""

    def __init__(self, *sizes: tuple[int, int]):
        self.shapes, self.decoded = sizes, []
        self.names = tuple(f"{h}x{w}" for h, w in sizes)

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        self.decoded.append(int(index))
        h, w = self.shapes[index]
        row, column = np.mgrid[:h, :w]
        return np.stack([np.full((h, w), index), row, column], -1).astype(np.uint8)


SOURCE = Made((40, 50), (64, 32), (33, 70), (20, 48))  # the last is lower than the crop


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(SOURCE, batch_size=8, crop_px=24, seed=3)


def test_batch_is_a_function_of_seed_and_step(pipeline):
    again = Pipeline(Made(*SOURCE.shapes), batch_size=8, crop_px=24, seed=3)
    assert pipeline[5].shape == (8, 24, 24, 3)
    assert pipeline[5].dtype == np.uint8
    for step in (0, 7, 10**9, 3):
        np.testing.assert_array_equal(pipeline[step], again[step])
    assert (pipeline[0] != pipeline[1]).any()
    assert (pipeline[0] != replace(pipeline, seed=4)[0]).any()


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("start", [0, 11])
def test_iterator_gives_the_steps_in_order(pipeline, workers, start):
    iterator = replace(pipeline, workers=workers).iterator(start)
    for step in range(start, start + 12):
        np.testing.assert_array_equal(next(iterator), pipeline[step])
    iterator.close()


def test_state_restores_midway_into_any_iterator(pipeline):
    iterator = pipeline.iterator(4)
    next(iterator), next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = [next(iterator) for _ in range(3)]
    for start in (0, 100):
        resumed = pipeline.iterator(start)
        next(resumed)
        resumed.set_state(state)
        np.testing.assert_array_equal([next(resumed) for _ in range(3)], expected)
        resumed.close()
    np.testing.assert_array_equal(expected[0], pipeline[6])
    iterator.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:orbax")
def test_state_goes_through_an_orbax_checkpoint(pipeline, tmp_path):
    iterator = pipeline.iterator()
    for _ in range(5):
        next(iterator)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(5, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        resumed = pipeline.iterator()
        manager.restore(5, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(resumed)))
    np.testing.assert_array_equal(next(resumed), pipeline[5])
    iterator.close()
    resumed.close()


# ----------------------------------------------------------------------- processes


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_shards_concatenate_to_the_same_global_batch(pipeline, count):
    shards = [replace(pipeline, process_index=p, process_count=count) for p in range(count)]
    for step in (0, 5, 31):
        np.testing.assert_array_equal(np.concatenate([s[step] for s in shards]), pipeline[step])
    rows = slice(-8 // count, None)
    iterator = shards[-1].iterator(2)
    np.testing.assert_array_equal(next(iterator), pipeline[2][rows])
    iterator.close()


def test_a_process_decodes_only_its_own_rows():
    source = Made(*[(24, 24)] * 64)
    Pipeline(source, 64, 24, by_area=False, process_index=1, process_count=4)[0]
    assert len(source.decoded) == 16


@pytest.mark.parametrize("count", [1, 4])
def test_photos_names_the_rows_of_a_step(pipeline, count):
    for process in range(count):
        shard = replace(pipeline, process_index=process, process_count=count)
        for step in (0, 9, 10**6):  # a pixel's first channel is the number of its photograph
            assert shard.photos(step) == [SOURCE.names[number] for number in shard[step][:, 0, 0, 0]]
    assert len(set(pipeline.photos(0))) > 1
    with pytest.raises(IndexError, match="count from 0"):
        pipeline.photos(-1)


def test_photos_decodes_nothing():
    source = Made((24, 24), (24, 24))
    Pipeline(source, 8, 24, by_area=False).photos(5)
    assert source.decoded == []


# ----------------------------------------------------------------------- epochs


def seen(pipeline: Pipeline, steps: int) -> np.ndarray:
    return np.concatenate([pipeline[step] for step in range(steps)])[:, 0, 0, 0]


def test_an_epoch_shows_every_photograph_once():
    pipeline = Pipeline(Made(*[(30, 30)] * 12), batch_size=4, crop_px=24, by_area=False)
    assert pipeline.steps_per_epoch == 3
    first, second = seen(pipeline, 6).reshape(2, 12)
    assert sorted(first) == sorted(second) == list(range(12))
    assert (first != second).any()


def test_by_area_shows_a_photograph_for_every_tile_of_it():
    pipeline = Pipeline(Made((10, 30), (20, 60), (40, 60)), batch_size=1, crop_px=20)
    assert pipeline.steps_per_epoch == 1 + 3 + 6  # the first has less than a tile, and is not forgotten
    assert np.bincount(seen(pipeline, 10)).tolist() == [1, 3, 6]


# ----------------------------------------------------------------------- cuts


def test_cuts_without_augmentation_are_squares_of_the_photograph():
    pipeline = Pipeline(Made((40, 50)), batch_size=32, crop_px=24, augment=False)
    corners = set()
    for square in pipeline[0]:
        top, left = square[0, 0, 1:]
        row, column = np.mgrid[top : top + 24, left : left + 24]
        np.testing.assert_array_equal(square[..., 1:], np.stack([row, column], -1))
        corners.add((int(top), int(left)))
    assert len(corners) > 20


def test_every_place_is_reached():
    pipeline = Pipeline(Made((26, 27)), batch_size=400, crop_px=24, augment=False)
    corners = {tuple(square[0, 0, 1:].tolist()) for square in pipeline[0]}
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_augmentation_shows_the_eight_symmetries_alike():
    pipeline = Pipeline(Made((24, 24)), batch_size=800, crop_px=24)
    photo, batch = pipeline.source[0], pipeline[0]
    symmetries = [np.rot90(p, k) for p in (photo, photo[:, ::-1]) for k in range(4)]
    counts = [(batch == s).all((1, 2, 3)).sum() for s in symmetries]
    assert sum(counts) == 800
    assert min(counts) > 100 - 4 * np.sqrt(800 / 8 * 7 / 8)


def test_a_photograph_smaller_than_the_crop_is_mirrored():
    pipeline = Pipeline(Made((10, 40)), batch_size=1, crop_px=24, augment=False)
    rows = pipeline[0][0, :, 0, 1].tolist()
    assert rows == [*range(10), *range(8, -1, -1), *range(1, 6)]
    assert Pipeline(Made((1, 40)), 1, 24)[0].shape == (1, 24, 24, 3)


# ----------------------------------------------------------------------- memory and the device


def test_photographs_are_decoded_once_while_they_fit():
    source = Made((600, 600), (600, 600))  # 1.03 MiB each
    pipeline = Pipeline(source, 8, 16, cache_mb=2, by_area=False)
    for step in range(4):
        pipeline[step]
    kept = set(pipeline._photos.kept)
    assert len(kept) == 1
    (other,) = {0, 1} - kept
    assert source.decoded.count(kept.pop()) == 1
    assert source.decoded.count(other) > 4


def test_what_is_handed_out_is_not_the_cache(pipeline):
    flat = replace(pipeline, augment=False)
    before = flat[0].copy()
    flat[0][:] = 0
    np.testing.assert_array_equal(flat[0], before)


def test_to_float():
    batch = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert to_float(batch).dtype == np.float32
    np.testing.assert_allclose(to_float(batch), batch / 255, rtol=2e-7)
    assert to_float(batch).max() == 1
    np.testing.assert_array_equal(to_uint8(to_float(batch)), batch)


# ----------------------------------------------------------------------- errors and specs


@dataclass(frozen=True)
class Empty:
    names: tuple[str, ...] = ()

    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"process_count": 3}, "batch_size 8 does not divide among 3 processes; use 6 or"),
        ({"process_count": 16}, "use 16 or"),
        ({"process_index": 2, "process_count": 2}, r"process_index 2 is not one of 0 \.\.\. 1"),
        ({"source": Empty()}, "no photographs"),
        ({"crop_px": 71}, "larger than every photograph"),
        ({"source": Made((24, 24)), "process_count": 4}, "1 examples an epoch, fewer than the 4 processes"),
        ({"crop_px": 0}, "crop_px is at least 1"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"seed": -1}, "seed is at least 0"),
        ({"workers": -1}, "workers is at least 0"),
    ],
)
def test_numbers_that_do_not_fit(pipeline, change, says):
    with pytest.raises(ValueError, match=says):
        replace(pipeline, **change)


def test_no_step_before_the_first(pipeline):
    with pytest.raises(IndexError, match="count from 0"):
        pipeline[-1]


def test_built_from_a_spec():
    spec = {"name": "data.pipeline.Pipeline", "source": {"name": "data.sets.embedded.Embedded"}}
    built = build({**spec, "batch_size": 4, "crop_px": 64})
    assert built.source == Embedded("train")
    assert build(spec_of(built)) == built
    assert built[0].shape == (4, 64, 64, 3)
