"""Reading a state dict by name: PyTorch's layouts to ours, each tensor once, and the detector that this makes."""

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets import torch_weights
from restore_jax.nets.layers import pixel_shuffle, pixel_unshuffle
from restore_jax.nets.torch_weights import (
    Unfit,
    UnknownArchitecture,
    Weights,
    recognise,
    rescaled,
    shuffled,
    stripped,
    unshuffled,
)

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def correlate(x, weight, bias):
    """PyTorch's convolution of `c h w` by its formula, without padding."""
    out, _, k, _ = weight.shape
    h, w = x.shape[1] - k + 1, x.shape[2] - k + 1
    y = np.zeros((out, h, w))
    for u in range(k):
        for v in range(k):
            y += np.einsum("oc,chw->ohw", weight[:, :, u, v], x[:, u : u + h, v : v + w])
    return y + bias[:, None, None]


def test_a_convolution_by_both_formulas():
    state = {"a.weight": draw(4, 3, 3, 3), "a.bias": draw(4)}
    layer = Weights(state).conv("a")
    x = draw(3, 5, 6)
    ours = sum(
        np.einsum("chw,co->hwo", x[:, u : u + 3, v : v + 4], layer["kernel"][u, v]) for u in range(3) for v in range(3)
    )
    expected = correlate(x, state["a.weight"], state["a.bias"]).transpose(1, 2, 0)
    np.testing.assert_allclose(ours + layer["bias"], expected, atol=1e-5)  # 27 products in another order


def test_depthwise_kernels_keep_an_axis_of_one():
    w = Weights({"a.weight": draw(8, 1, 3, 3)})
    assert w.conv("a")["kernel"].shape == (3, 3, 1, 8)


def test_dense_of_a_linear_layer_and_of_a_1x1_convolution():
    kernel = draw(4, 3)
    w = Weights({"a.weight": kernel, "b.weight": kernel[:, :, None, None], "b.bias": draw(4)})
    a, b = w.dense("a"), w.dense("b")
    np.testing.assert_array_equal(a["kernel"], kernel.T)
    np.testing.assert_array_equal(b["kernel"], kernel.T)
    assert set(a) == {"kernel"}
    assert set(b) == {"kernel", "bias"}


def test_a_batch_norm_is_folded_as_it_acts():
    state = {"c.weight": draw(4, 3, 1, 1), "c.bias": draw(4), "n.weight": draw(4), "n.bias": draw(4)}
    state |= {"n.running_mean": draw(4), "n.running_var": np.abs(draw(4)), "n.num_batches_tracked": np.asarray(7)}
    w = Weights(state)
    layer = w.normed_conv("c", "n")
    x = draw(3)
    y = state["c.weight"][:, :, 0, 0] @ x + state["c.bias"]
    y = (y - state["n.running_mean"]) / np.sqrt(state["n.running_var"] + 1e-5) * state["n.weight"] + state["n.bias"]
    np.testing.assert_allclose(x @ layer["kernel"][0, 0] + layer["bias"], y, rtol=1e-4, atol=1e-5)
    assert not w.left


@pytest.mark.parametrize("r", [2, 3])
def test_shuffled_is_the_layer_before_pytorchs_shuffle(r):
    layer = {"kernel": draw(5, 3 * r * r), "bias": draw(3 * r * r)}
    x = draw(2, 4, 5)
    theirs = x @ layer["kernel"] + layer["bias"]  # channels (d r r), the picture's slowest
    theirs = theirs.reshape(2, 4, 3, r, r).transpose(0, 3, 1, 4, 2).reshape(2 * r, 4 * r, 3)
    moved = shuffled(layer, r)
    ours = pixel_shuffle(jnp.asarray(x @ moved["kernel"] + moved["bias"]), r)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_unshuffled_is_the_layer_after_pytorchs_unshuffle():
    x, layer = draw(4, 6, 3), {"kernel": draw(12, 5), "bias": draw(5)}
    theirs = x.reshape(2, 2, 3, 2, 3).transpose(0, 2, 4, 1, 3).reshape(2, 3, 12) @ layer["kernel"]
    moved = unshuffled(layer, 2)
    np.testing.assert_allclose(np.asarray(pixel_unshuffle(jnp.asarray(x), 2)) @ moved["kernel"], theirs, atol=1e-5)
    np.testing.assert_array_equal(moved["bias"], layer["bias"])


def test_rescaled_speaks_in_other_units():
    layer, x = {"kernel": draw(3, 4), "bias": draw(4)}, np.abs(draw(7, 3))
    published = 255 * x @ layer["kernel"] + layer["bias"]
    first, both = rescaled(layer, inputs=255), rescaled(layer, inputs=255, outputs=255)
    np.testing.assert_allclose(x @ first["kernel"] + first["bias"], published, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose((x @ both["kernel"] + both["bias"]) * 255, published, rtol=1e-4, atol=1e-3)


def test_each_tensor_is_read_once_and_the_missing_are_remembered():
    w = Weights({"a.weight": draw(2, 2), "counter": np.asarray(3)})
    w.dense("a")
    with pytest.raises(Unfit, match="read twice"):
        w.dense("a")
    assert np.isnan(w.array("b.weight")).all()
    assert w.missing == {"b.weight"}
    assert w.left == {"counter"}
    w.ignore("counter", "absent")
    assert not w.left
    with pytest.raises(Unfit, match=r"c\.weight"):
        w.shape("c.weight")


def test_count_stops_at_the_first_gap():
    assert Weights({"b.0.w": draw(1), "b.1.w": draw(1), "b.3.w": draw(1)}).count("b.{}.w") == 2


def two_nets(monkeypatch):
    """A world of two architectures; the second has a name of its own that looks like a wrapper's."""

    def _first(w):
        return {"name": "first", "width": w.shape("stem.weight")[0]}, {"stem": w.dense("stem", bias=True)}

    def _second(w):
        n, _, _, _ = w.shape("model.0.weight")
        return {"name": "second", "width": n}, {"stem": w.conv("model.0")}

    monkeypatch.setattr(torch_weights, "converters", lambda: {"first": _first, "second": _second})


FIRST = {"stem.weight": draw(4, 3), "stem.bias": draw(4)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"params.{k}": np.zeros(1) for k in s} | {f"params_ema.{k}": v for k, v in s.items()},
        lambda s: {f"state_dict.module.{k}": v for k, v in s.items()} | {"epoch": np.asarray(3)},
        lambda s: {f"state_dict.{k}": v for k, v in s.items()} | {"optimizer.state.0.exp_avg": draw(4, 3)},
    ],
    ids=["bare", "parallel", "averaged", "epoch", "optimiser"],
)
def test_a_checkpoints_wrappers_are_taken_off(monkeypatch, wrap):
    two_nets(monkeypatch)
    found = recognise(wrap(FIRST))
    assert found.net == {"name": "first", "width": 4}
    np.testing.assert_array_equal(found.params["stem"]["kernel"], FIRST["stem.weight"].T)
    assert set(stripped(wrap(FIRST))) == set(FIRST)


def test_a_name_like_a_wrapper_may_be_the_nets_own(monkeypatch):
    two_nets(monkeypatch)
    state = {"model.0.weight": draw(5, 3, 3, 3)}
    assert recognise(state).net == {"name": "second", "width": 5}
    assert recognise({f"module.{k}": v for k, v in state.items()}).net["name"] == "second"


def test_the_unknown_are_told_the_nearest_and_what_did_not_fit(monkeypatch):
    two_nets(monkeypatch)
    with pytest.raises(
        UnknownArchitecture, match=r"(?s)3 tensors.*\n  first: knows 67%.*missing none; left over tail\.weight"
    ):
        recognise(FIRST | {"tail.weight": draw(1)})
    with pytest.raises(UnknownArchitecture, match=r"first: knows 100% .*missing stem\.bias"):
        recognise({"stem.weight": draw(4, 3)})
    with pytest.raises(UnknownArchitecture, match=r"second: knows 100%.*shapes do not fit"):
        recognise({"model.0.weight": draw(5)})


def test_every_converter_survives_a_strangers_names():
    """A name that two nets share, with a tensor of another rank, is no reason to fail."""
    names = {"head.weight", "conv_1.weight", "model.0.weight", "intro.weight", "patch", "body.0.weight"}
    with pytest.raises(UnknownArchitecture, match="no net here"):
        recognise({name: np.zeros(2, np.float32) for name in names})
