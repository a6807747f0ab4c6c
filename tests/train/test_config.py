"""A config says what a run is; mistakes in it are named, and what is due when is a matter of images."""

import pytest

from restore_jax.build import SpecError, build
from restore_jax.train.config import Config
from tests.train.tiny import tiny_config


def test_parse_takes_dicts_configdicts_and_itself():
    from ml_collections import ConfigDict

    config = Config.parse(ConfigDict(tiny_config()))
    assert config.images == 32
    assert config == Config.parse(tiny_config()) == Config.parse(config)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"imags": 3}, SpecError, "no field 'imags'. Did you mean 'images'"),
        ({"keep": 2}, SpecError, "no field 'keep'"),
        ({"images": "many"}, SpecError, "config.images is a whole number"),
        ({"batch_size": True}, SpecError, "config.batch_size is a whole number"),
        ({"steps_per_dispatch": 0}, ValueError, "config.steps_per_dispatch must be 1 or above, not 0"),
        ({"remat": "all"}, ValueError, "config.remat must be one of none, full, dots, not 'all'"),
        ({"images": 3}, ValueError, "config.images must be batch_size, 4, or above, not 3"),
    ],
)
def test_mistakes_are_named(change, error, message):
    with pytest.raises(error, match=message):
        Config.parse(tiny_config(**change))


@pytest.mark.parametrize("field", ["optim", "parallel", "retain", "guard", "spikes", "trackers"])
def test_every_default_builds(field):
    build(getattr(Config.parse(tiny_config()), field), field)


@pytest.mark.parametrize(("k", "steps"), [(1, [3, 6, 8]), (2, [4, 6, 8]), (3, [3, 6, 8]), (5, [5, 8])])
def test_what_is_due_every_third_step_falls_to_the_end_of_its_dispatch_and_to_the_last(k, steps):
    """8 steps of 4 images, every 12 images: multiples 3 and 6 of the step, each at the first border at or after it."""
    config = Config.parse(tiny_config(images=32))
    ends = [*range(k, 8, k), 8]
    assert [end for start, end in zip([0, *ends], ends) if config.due(12, start, end)] == steps


def test_a_cadence_below_a_step_is_every_step():
    config = Config.parse(tiny_config())
    assert all(config.due(1, step - 1, step) for step in range(1, 9))
