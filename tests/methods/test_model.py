"""A model as files: published weights become one, it comes back, and what does not fit is said."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, ModelError, flat, nested, read_model, read_weights, write_model
from restore_jax.nets.safetensors_file import write_safetensors
from restore_jax.nets.torch_weights import UnknownArchitecture

RNG = np.random.default_rng(0)


def draw(*shape):
    return 0.2 * RNG.normal(size=shape).astype(np.float32)


def published(channels=3, embed=0, width=4):
    """A NAFNet of one block a level, under its authors' names."""
    state = {}

    def conv(name, out, into, k=1, bias=True):
        state[f"{name}.weight"] = draw(out, into, k, k)
        if bias:
            state[f"{name}.bias"] = draw(out)

    def block(name, c):
        conv(f"{name}.conv1", 2 * c, c)
        conv(f"{name}.conv2", 2 * c, 1, 3)
        for layer, out in (("conv3", c), ("conv4", 2 * c), ("conv5", c)):
            conv(f"{name}.{layer}", out, c)
        for norm in ("norm1", "norm2"):
            state[f"{name}.{norm}.weight"], state[f"{name}.{norm}.bias"] = draw(c), draw(c)
        state[f"{name}.beta"], state[f"{name}.gamma"] = draw(1, c, 1, 1), draw(1, c, 1, 1)
        for n in (1, 2) if embed else ():
            state[f"{name}.film{n}.weight"], state[f"{name}.film{n}.bias"] = draw(2 * c, embed), draw(2 * c)

    conv("intro", width, channels, 3)
    conv("ending", channels, width, 3)
    block("encoders.0.0", width)
    conv("downs.0", 2 * width, width, 2)
    block("middle_blks.0", 2 * width)
    conv("ups.0.0", 4 * width, 2 * width, bias=False)
    block("decoders.0.0", width)
    if embed:
        state["noise.0.weight"], state["noise.0.bias"] = draw(embed, 64), draw(embed)
        state["noise.2.weight"], state["noise.2.bias"] = draw(embed, embed), draw(embed)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    write_safetensors(path, published())
    return path


@pytest.fixture(scope="module")
def folder(weights):
    return write_model(weights.parent / "model", read_weights(weights, licence="MIT", source="a friend"))


def test_published_weights_become_a_restorer(weights, folder):
    model = read_weights(weights)
    net = build(model.method["net"])
    y = jnp.asarray(RNG.uniform(size=(1, 9, 6, 3)), jnp.float32)
    params = jax.tree.map(jnp.asarray, model.params)
    expected = jax.jit(lambda y: net.apply({"params": params}, y))(y)
    restorer = load(folder)
    x_hat = jax.jit(lambda y: restorer(jax.random.key(0), Observation(y=y)))(y)
    # One program sees a picture padded by the restorer, the other by the net: 12 layers of float32, in other loops.
    np.testing.assert_allclose(x_hat, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected - y).max() > 0.01


def test_the_card_says_what_it_is_and_where_from(weights, folder):
    card = json.loads((folder / "model.json").read_text())
    assert card["architecture"] == "nets.nafnet.NAFNet"
    assert card["parameters"] == sum(a.size for a in published().values())
    assert (card["scale"], card["channels"]) == (1, 3)
    provenance = card["provenance"]
    assert (provenance["file"], provenance["licence"], provenance["source"]) == ("net.safetensors", "MIT", "a friend")
    assert len(provenance["sha256"]) == 64
    assert read_weights(weights).provenance["licence"] == "unknown"
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "params.safetensors"]


def test_there_and_back(weights, folder):
    model, back = read_weights(weights), read_model(folder)
    assert build(back.method) == build(model.method)
    assert flat(back.params).keys() == flat(model.params).keys()
    for name, array in flat(back.params).items():
        np.testing.assert_array_equal(array, flat(model.params)[name])


def test_a_net_that_listens_is_told_its_level(tmp_path):
    write_safetensors(tmp_path / "net.safetensors", published(embed=8))
    with pytest.raises(ModelError, match=r"is told the level.*--sigma"):
        read_weights(tmp_path / "net.safetensors")
    model = read_weights(tmp_path / "net.safetensors", sigma=0.1)
    assert model.method["sampler"] == {"name": "diffusion.once.Once", "sigma": 0.1}
    assert model.method["precondition"] == {"name": "diffusion.precondition.Plain"}
    restorer = build(model.method).restorer(jax.tree.map(jnp.asarray, model.params))
    assert restorer.draws == 0


def test_a_level_for_the_deaf_is_refused(weights):
    with pytest.raises(ModelError, match=r"does not listen.*--sigma 0\.1"):
        read_weights(weights, sigma=0.1)


def test_grey_nets_are_known_as_grey(tmp_path):
    write_safetensors(tmp_path / "net.safetensors", published(channels=1))
    assert read_weights(tmp_path / "net.safetensors").channels == 1


def test_a_wrong_shape_is_named_with_the_one_expected(tmp_path):
    state = published()
    state["middle_blks.0.conv5.bias"] = draw(5)
    write_safetensors(tmp_path / "net.safetensors", state)
    with pytest.raises(ModelError, match=r"middle_0/conv5/bias is \(5,\) and should be \(8,\)"):
        read_weights(tmp_path / "net.safetensors")
    write_safetensors(tmp_path / "net.safetensors", published(channels=6))
    with pytest.raises(ModelError, match=r"intro/kernel is \(3, 3, 6, 4\) and should be \(3, 3, 3, 4\)"):
        read_weights(tmp_path / "net.safetensors")


def test_an_unknown_architecture_is_told_the_nearest(tmp_path):
    write_safetensors(tmp_path / "net.safetensors", published() | {"tail.weight": draw(2)})
    with pytest.raises(UnknownArchitecture, match=r"nafnet.*left over tail\.weight"):
        read_weights(tmp_path / "net.safetensors")


def test_a_folder_that_is_taken_is_left_alone(tmp_path, weights):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ModelError, match="exists already"):
        write_model(tmp_path, read_weights(weights))
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    bad = Model(
        {"name": "methods.regression.Regression", "net": {"name": "nets.nafnet.NAFNet"}, "scale": 1}, {"a": draw(1)}
    )
    with pytest.raises(ValueError, match="also needs"):
        write_model(tmp_path / "model", bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "model.json").unlink(), "holds no model.json"),
        (lambda f: (f / "model.json").write_text("{"), "is damaged"),
        (lambda f: (f / "model.json").write_text('{"format": 99}'), "of format 99"),
        (lambda f: (f / "params.safetensors").write_bytes(b"x"), "is not what model.json speaks of"),
    ],
    ids=["missing", "cut", "later", "other numbers"],
)
def test_damage_is_named(folder, tmp_path, damage, said):
    shutil.copytree(folder, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(ModelError, match=said):
        read_model(tmp_path / "copy")


def test_flat_and_nested_are_inverse():
    tree = {"a": {"b": {"kernel": 1}, "c": 2}, "d": 3}
    assert flat(tree) == {"a/b/kernel": 1, "a/c": 2, "d": 3}
    assert nested(flat(tree)) == tree


def test_half_the_bytes_are_numbers_rounded_to_float16(weights, tmp_path):
    whole = read_weights(weights)
    write_model(tmp_path / "half", whole, half=True)
    write_model(tmp_path / "whole", whole)
    sizes = [(tmp_path / name / "params.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.5 * sizes[1] + 4_000  # the names weigh the same
    half = flat(read_model(tmp_path / "half").params)
    for name, array in flat(whole.params).items():
        assert half[name].dtype == np.float32
        # 11 bits, and below float16's normal numbers the step of the smallest
        np.testing.assert_allclose(half[name], array, rtol=2**-11, atol=2**-25)


def test_numbers_that_float16_cannot_hold_are_refused(tmp_path):
    model = Model({}, {"a": {"kernel": np.full((1, 1), 7e4, np.float32)}})
    with pytest.raises(ModelError, match="a/kernel has numbers above 65504"):
        write_model(tmp_path / "model", model, half=True)
    assert not (tmp_path / "model").exists()
