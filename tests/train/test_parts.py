"""What a config describes is built, and what does not fit is refused before anything is computed."""

import pytest

from restore_jax.build import SpecError
from restore_jax.train.config import Config
from restore_jax.train.parts import Parts
from restore_jax.train.precision import Precise
from tests.train.tiny import tiny_config


def parts(**fields):
    return Parts.of(Config.parse(tiny_config(**fields)))


def test_the_loss_is_in_the_precision_asked_for_and_the_restorer_is_not():
    plain = parts()
    assert plain.lowered is plain.method
    lowered = parts(precision={"name": "train.precision.Precision", "compute": "bfloat16"})
    assert isinstance(lowered.lowered, Precise)
    assert lowered.method == plain.method


def test_the_state_remembers_the_rate_and_the_averages():
    state = parts(snapshots={"name": "train.ema.Snapshots", "stds": (0.1,)}).fresh()
    assert (float(state.aux["rate"]), int(state.aux["rollbacks"])) == (1.0, 0)
    assert set(state.aux["ema_tracks"]) == {"0.1"}


def test_a_dispatch_is_compiled_once():
    one = parts()
    assert one.dispatch(2) is one.dispatch(2)


def test_the_rates_of_a_step():
    """A step of 4 images at a linear decay over 32: step k starts at 4 (k - 1) images."""
    linear = {"name": "train.optim.AdamW", "rate": 1.0, "decay": {"name": "train.optim.Linear"}}
    rates = parts(optim=linear).rates()
    assert [rates(step, 0.5)["rate"] for step in (1, 5, 8)] == pytest.approx([0.5, 0.25, 0.0625])


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"accumulate": 3}, ValueError, "a batch of 4 does not divide"),
        ({"crop_px": 5000}, ValueError, "crop_px 5000 is larger than every photograph"),
        ({"guard": {"name": "train.guard.Gard"}}, SpecError, "Guard"),
        ({"trackers": ({"name": "train.trackers.Wandb", "mode": "on"},)}, ValueError, "Wandb.mode must be online"),
    ],
)
def test_what_does_not_fit_is_refused(fields, error, says):
    with pytest.raises(error, match=says):
        parts(**fields)
