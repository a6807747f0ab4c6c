"""What a row says of its steps, whenever it was read from the device."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.train import window as module
from restore_jax.train.window import Window


class Spikes:
    """Remembers what it was shown."""

    def __init__(self):
        self.before, self.seen = [], []

    def step(self, step, values):
        self.seen.append(step)
        self.before.append(values["loss"])
        return f"Step {step}!" if values.get("skipped") else ""


@pytest.fixture
def window():
    return Window(Spikes())


def metrics(loss, **others):
    return {name: jnp.asarray(value, jnp.float32) for name, value in {"loss": loss, **others}.items()}


def test_the_mean_of_the_loss_and_the_last_of_the_rest(window):
    for step, (loss, psnr) in enumerate([(1.0, 20.0), (2.0, 21.0), (6.0, 22.0)], 1):
        window.add(step, metrics(loss, psnr=psnr))
    assert window.row() == {"loss": 3.0, "psnr": 22.0}
    window.add(4, metrics(5.0, psnr=1.0))
    assert window.row() == {"loss": 5.0, "psnr": 1.0}
    assert window.spikes.seen == [1, 2, 3, 4]


def test_a_dispatch_of_several_steps_is_its_steps(window):
    window.add(3, metrics([1.0, 2.0], psnr=[20.0, 21.0]))
    window.add(5, metrics([6.0], psnr=[22.0]))
    assert window.row() == {"loss": 3.0, "psnr": 22.0}
    assert window.spikes.seen == [3, 4, 5]


def test_skipped_steps_are_counted_and_do_not_speak(window):
    window.add(1, metrics(2.0, skipped=0.0, grad_norm=1.0))
    window.add(2, metrics(np.nan, skipped=1.0, grad_norm=np.nan))
    window.add(3, metrics(9.0, skipped=1.0, grad_norm=np.inf))
    window.settle()
    assert window.said == {2: "Step 2!", 3: "Step 3!"}
    assert window.row() == {"loss": 2.0, "skipped": 2.0, "grad_norm": 1.0}
    assert window.said == {}


def test_a_row_none_of_whose_steps_was_made_is_not_finite(window):
    window.add(1, metrics(np.nan, skipped=1.0))
    row = window.row()
    assert np.isnan(row["loss"])
    assert row["skipped"] == 1.0


def test_its_state_is_a_row_half_said(window):
    """Saved between two rows and set in another start: the same row, to the bit, through JSON."""
    import json

    for step, loss in enumerate([0.1, 0.7, 0.3], 1):
        window.add(step, metrics(loss, psnr=loss))
    other = Window(Spikes())
    other.add(9, metrics(5.0))  # forgotten
    other.restore(json.loads(json.dumps(window.state())))
    for one in (window, other):
        one.add(4, metrics(0.9, psnr=0.2))
    assert window.row() == other.row()
    assert window.spikes.before == other.spikes.before


def test_many_dispatches_between_two_rows_do_not_pile_up(window, monkeypatch):
    monkeypatch.setattr(module, "UNREAD", 4)
    for step in range(1, 11):
        window.add(step, metrics(float(step)))
        assert len(window._unread) <= 4
    assert len(window.spikes.seen) >= 5
    assert window.row() == {"loss": 5.5}
