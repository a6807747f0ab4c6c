"""Every net beside the same architecture in PyTorch, under the names of its published weights.

The twin's weights go through the importer: what it recognises is the example, and computes what the twin computes.
"""

import functools
import importlib
import json
import pkgutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.nets
from restore_jax.build import build
from restore_jax.nets.torch_weights import UnknownArchitecture, Weights, converters, recognise

torch = pytest.importorskip("torch", reason="the twins are PyTorch modules")

# Nets without published weights whose twins are their own measure are here as well.
MUST = {
    "nafnet",
    "unet",
    "restormer",
    "swinir",
    "dit",
    "edsr",
    "rrdb",
    "srvgg",
    "imdn",
    "carn",
    "safmn",
    "rlfn",
    "rfdn",
}
MUST |= {"fmen", "bsrn", "lkdn", "span", "dncnn", "ffdnet", "ecbsr"}
TWINS = Path(__file__).parents[2] / "benchmarks" / "torch_nets"
NETS = {
    info.name: examples
    for info in pkgutil.iter_modules(restore_jax.nets.__path__)
    if (examples := getattr(importlib.import_module(f"restore_jax.nets.{info.name}"), "EXAMPLES", ()))
}
EXAMPLES = [(name, spec) for name, specs in NETS.items() if (TWINS / f"{name}.py").exists() for spec in specs]
twins = pytest.mark.parametrize("spec", [spec for _, spec in EXAMPLES], ids=json.dumps)
SIZE = (24, 20)


@functools.cache
def _pair(spec: str):
    net = build(json.loads(spec))
    module = json.loads(spec)["name"].split(".")[-2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = importlib.import_module(f"benchmarks.torch_nets.{module}").twin(net).eval()
        perturb(twin)
    return net, twin


def pair(spec):
    """The example's net and its twin with weights all at random."""
    return _pair(json.dumps(spec))


def perturb(module) -> None:
    """No zero start and no idle batch norm: nothing may hide behind them. Constants stay what they are."""
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p += 0.2 * torch.randn_like(p) / max(1, p[0].numel()) ** 0.5
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 1.5)


def state_of(module) -> dict[str, np.ndarray]:
    return {name: a.numpy() for name, a in module.state_dict().items()}


@pytest.mark.parametrize("name", sorted(MUST | set(NETS)))
def test_every_net_has_a_twin_and_a_way_in(name):
    assert name in NETS, f"restore_jax/nets/{name}.py has no EXAMPLES"
    assert (TWINS / f"{name}.py").exists()
    assert importlib.import_module(f"restore_jax.nets.{name}").TORCH


@twins
def test_the_twins_weights_are_recognised_by_one_converter_as_the_example(spec):
    net, twin = pair(spec)
    state = state_of(twin)
    found = recognise(state)
    assert build(found.net) == net
    readers = []
    for name, convert in converters().items():
        w = Weights(state)
        try:
            convert(w)
        except LookupError:
            continue
        if not w.left and not w.missing:
            readers.append(name)
    assert len(readers) == 1, readers


@twins
def test_the_imported_net_computes_what_the_twin_computes(spec):
    net, twin = pair(spec)
    found = recognise(state_of(twin))
    listens = bool(getattr(net, "embed", 0))
    rng = np.random.default_rng(0)
    cell = net.factor // net.scale
    size = [-(-side // cell) * cell for side in SIZE]  # beyond, everyone pads in a way of their own
    channels = getattr(net, "out_channels", 3)
    x, c_noise = rng.uniform(size=(2, *size, channels)).astype(np.float32), np.float32([0.05, 0.4])
    white = getattr(twin, "data_range", 1.0)  # of a white pixel, to the published weights
    with torch.no_grad():
        pictures = white * torch.from_numpy(x).permute(0, 3, 1, 2)
        theirs = twin(pictures, torch.from_numpy(c_noise)) if listens else twin(pictures)
        theirs = theirs.permute(0, 2, 3, 1).numpy() / white
    inputs = (jnp.asarray(x), jnp.asarray(c_noise)) if listens else (jnp.asarray(x),)
    params = jax.tree.map(jnp.asarray, found.params)
    shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    ours = jax.jit(net.apply)({"params": params}, *inputs)
    # float32 on both sides, sums of up to some hundred products in another order, layer after layer: 1e-6, and what
    # the layers after make of it. A transposed kernel or a shuffle in the wrong order is an error of order 1.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_a_net_with_a_tensor_too_many_or_too_few_is_unknown():
    _, twin = pair(NETS["nafnet"][0])
    state = state_of(twin)
    with pytest.raises(UnknownArchitecture, match=r"(?s)nafnet.*left over stowaway"):
        recognise(state | {"stowaway": np.zeros(3)})
    with pytest.raises(UnknownArchitecture, match=r"(?s)nafnet.*missing ending\.bias"):
        recognise({name: a for name, a in state.items() if name != "ending.bias"})
