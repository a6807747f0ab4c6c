"""When a run counts as diverged, and a GAN as collapsed."""

import pytest

from restore_jax.train.guard import Divergence, Guard, Rule

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
        ({"times": -1}, "Guard.times must be 0 or above and slower in"),
        ({"slower": 0.0}, "Guard.times must be 0 or above and slower in"),
    ],
)
def test_mistakes_are_named(fields, says):
    with pytest.raises(ValueError, match=says):
        Guard(**fields)


def losses(*values):
    return [{"step": k, "images": 4 * k, "loss": value} for k, value in enumerate(values, 1)]


def test_both_are_rules():
    assert all(isinstance(rule, Rule) for rule in (Divergence(), Guard()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_has_diverged_at_once_and_not_when_it_is_past(value):
    assert Divergence()(losses(1.0, value)) == f"the loss is {value} at step 2"
    assert Divergence()(losses(1.0, value, 1.0)) == ""


def test_a_loss_far_above_its_median_for_long_enough_has_diverged():
    """factor 10, 3 rows: a median of 2 puts the bound at 20, which is not yet above it."""
    rule = Divergence(factor=10.0, rows=3, history=5)
    before = [1.0, 2.0, 3.0, 2.0, 2.0]
    assert "above 10 times its median, 2, for 3 rows" in rule(losses(*before, 20.1, 30.0, 21.0))
    assert rule(losses(*before, 30.0, 20.0, 30.0)) == ""
    assert rule(losses(*before, 30.0, 30.0)) == ""
    assert rule(losses(30.0, 30.0, 30.0)) == ""  # what it was is not known
    assert rule([]) == rule([PREVIEW]) == ""


def test_rows_of_previews_do_not_count_and_old_rows_are_forgotten():
    rule = Divergence(factor=2.0, rows=2, history=2)
    high = losses(9.0, 9.0, 1.0, 1.0, 3.0, 3.0)
    assert rule(high)
    assert rule([*high[:5], PREVIEW, high[5], PREVIEW])
    assert rule(losses(1.0, 1.0, 9.0, 9.0, 3.0, 3.0)) == ""


def test_a_loss_that_may_be_negative_has_no_scale():
    assert Divergence(rows=2)(losses(-1.0, -1.0, -1.0, 50.0, 50.0)) == ""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"factor": 1.0}, "Divergence.factor must be above 1, not 1.0"),
        ({"factor": float("nan")}, "Divergence.factor"),
        ({"rows": 0}, "Divergence.rows must be 1 or above"),
        ({"history": 2}, "and history rows or above, not 5 and 2"),
        ({"slower": 1.5}, "Divergence.times must be 0 or above and slower in"),
    ],
)
def test_mistakes_of_divergence_are_named(fields, says):
    with pytest.raises(ValueError, match=says):
        Divergence(**fields)
