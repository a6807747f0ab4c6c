"""Places in the data: written by each process for itself, and refused where the processes are others."""

import jax
import orbax.checkpoint as ocp
import pytest

from restore_jax.train.place import PlaceError, Positioned, move, place_of
from tests.train.world import Place


def write(folder, iterator):
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        writer.save(folder, ocp.args.Composite(data=place_of(iterator)))


def test_round_trip(tmp_path):
    write(tmp_path / "step", Place(7))
    other = Place()
    assert isinstance(other, Positioned)
    move(other, tmp_path / "step" / "data")
    assert other.at == 7


def test_the_place_is_that_of_the_call(tmp_path):
    """An iterator moves on while its place is still being written."""
    iterator = Place(7)
    argument = place_of(iterator)
    iterator.at = 8
    assert argument.item.get_state() == b'{"next": 7}'


def test_what_reads_ahead_begins_to(tmp_path):
    class Ahead(Place):
        began = False

        def start_prefetch(self):
            self.began = True

    write(tmp_path / "step", Place(7))
    ahead = Ahead()
    move(ahead, tmp_path / "step" / "data")
    assert ahead.began


def test_other_processes(tmp_path, monkeypatch):
    write(tmp_path / "step", Place(7))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(PlaceError, match="saved by 1 processes and this run has 2"):
        move(Place(), tmp_path / "step" / "data")
