"""The table of nets beside PyTorch: every twin has a case that builds, and the ratios are the right way round."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import nets, side_by_side
from restore_jax.build import build

TWINS = {path.stem for path in Path(nets.__file__).with_name("torch_nets").glob("*.py")} - {"__init__", "condition"}


def test_every_twin_has_a_case():
    assert set(nets.CASES) == TWINS


@pytest.mark.parametrize("name", sorted(nets.CASES))
def test_a_case_is_a_net_for_pictures_of_its_sizes(name):
    case = nets.CASES[name]
    net = build(case.spec)
    for side in (case.side, case.crop):
        assert side * net.scale % net.factor == 0  # beyond, the two sides pad differently
    inputs = (jnp.zeros((1, case.crop, case.crop, getattr(net, "out_channels", 3))), jnp.zeros(1))
    out, _ = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), *inputs))
    assert out.shape[1:3] == (case.crop * net.scale, case.crop * net.scale)


def test_a_ratio_above_one_is_a_slower_first_side(monkeypatch):
    monkeypatch.setattr(side_by_side, "ROUND_S", 0.004)
    monkeypatch.setattr(side_by_side, "PAUSE_S", 0.0)
    sides = {"ours": lambda: time.sleep(0.02), "eager": lambda: time.sleep(0.002), "compiled": lambda: time.sleep(0.2)}
    medians, ratios = side_by_side.interleaved(sides, 3)
    assert medians["eager"] < medians["ours"] < medians["compiled"]
    # Sleeps are never shorter than asked, and on a crowded machine longer.
    assert ratios["eager"] > 1 > ratios["compiled"]
    row = nets.figures("forward", medians, ratios)
    assert (row["forward_against"], row["forward_ratio"]) == ("eager", ratios["eager"])


def test_two_sides_that_differ_are_not_timed():
    assert side_by_side.difference([1.0, 2.0], [1.0, 2.5]) == pytest.approx(0.2)
    side_by_side.must_agree("forward", 0.9e-4, 1e-4)
    for error in (1.1e-4, float("nan")):
        with pytest.raises(SystemExit, match="forward: the two sides differ"):
            side_by_side.must_agree("forward", error, 1e-4)


def test_summary_is_by_net_and_leaves_out_what_failed():
    row = {"forward_ratio": 0.5, "step_ratio": 0.75, "forward_s_per_mpx": 2.0}
    figures = nets.summary({"nafnet": row, "unet": {"error": "no"}, "span_vs_ncnn": {"ratio": 1.25}})
    assert figures["forward_ratio"] == {"nafnet": 0.5}
    assert figures["step_ratio"] == {"nafnet": 0.75}
    assert figures["span_vs_ncnn"] == 1.25
