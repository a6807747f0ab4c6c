"""When a GAN counts as collapsed."""

import pytest

from restore_jax.train.guard import Guard

WELL = {"loss": 1.0, "balance": 0.7, "spread": 0.98}
PREVIEW = {"step": 9.0, "heldout_psnr": 25.0}


def rows(n, **values):
    return [WELL | {"step": float(k)} | values for k in range(n)]


def test_a_run_that_goes_well_and_one_that_has_not_begun():
    assert Guard()(rows(30)) == ""
    assert Guard()([]) == ""


@pytest.mark.parametrize("name", ["loss", "heldout_psnr"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_found_at_once(name, value):
    said = Guard()([*rows(2), {"step": 7.0, name: value}])
    assert said == f"{name} is {value} at step 7.0: the players have diverged."


@pytest.mark.parametrize(
    ("name", "bad", "says"),
    [
        ("balance", 0.019, "balance is 0.019 and was for 4 rows below 0.02: the discriminator tells everything apart"),
        ("balance", 3.1, "above 3.0: the discriminator is worse than none"),
        ("spread", 0.2, "spread is 0.2 and was for 4 rows below 0.25: the generator's pictures lose their contrast"),
    ],
)
def test_a_number_beyond_its_bound_for_long_enough(name, bad, says):
    guard = Guard(rows=4)
    assert says in guard([*rows(9), PREVIEW, *rows(2, **{name: bad}), PREVIEW, *rows(2, **{name: bad})])
    assert guard(rows(9) + rows(3, **{name: bad})) == ""  # not yet
    assert guard(rows(4, **{name: bad}) + rows(1)) == ""  # and over again


def test_a_loss_without_a_scale_has_no_balance():
    table = [{"step": 1.0, "loss": -3.0, "spread": 1.0}] * 20
    assert Guard()(table) == ""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rows": 0}, "Guard.rows must be 1 or above, not 0"),
        ({"floor": 1.2}, "floor and ceiling"),
        ({"ceiling": 0.9}, "floor and ceiling"),
        ({"least": 1.0}, "Guard.least"),
    ],
)
def test_mistakes_are_named(fields, says):
    with pytest.raises(ValueError, match=says):
        Guard(**fields)
