"""Specs to objects and back, and what is said to whoever mistypes one."""

import dataclasses
import sys

import flax.linen as nn
import pytest
from ml_collections import ConfigDict

from restore_jax.build import SpecError, build, did_you_mean, examples, spec_of
from restore_jax.degrade.blur import GaussianBlur
from restore_jax.degrade.chain import Chain
from restore_jax.degrade.noise import Gaussian
from restore_jax.nets.unet import UNet

NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
BLUR = {"name": "degrade.blur.GaussianBlur", "std": (0.5, 1.0)}
CHAIN = {"name": "degrade.chain.Chain", "steps": [BLUR, NOISE]}
EXAMPLES = examples()


# From a spec


def test_a_spec_becomes_its_object():
    assert build(NOISE) == Gaussian(std=0.1)
    assert build({"name": "degrade.noise.Gaussian"}) == Gaussian()


def test_specs_nest_in_lists_and_dicts():
    chain = Chain(steps=(GaussianBlur(std=(0.5, 1.0)), Gaussian(std=0.1)))
    assert build(CHAIN) == chain
    assert build({"train": CHAIN, "test": {"first": NOISE}, "batch": 4}) == {
        "train": chain,
        "test": {"first": Gaussian(std=0.1)},
        "batch": 4,
    }
    assert build([CHAIN, [NOISE, 3]]) == (chain, (Gaussian(std=0.1), 3))


def test_a_config_dict_is_a_spec():
    config = ConfigDict({"degrade": {**CHAIN, "steps": (BLUR, NOISE)}})
    assert build(config.degrade) == build(CHAIN)
    assert build(config.lock()) == {"degrade": build(CHAIN)}


@pytest.mark.parametrize("value", [3, 0.5, "text", None, True, Gaussian()])
def test_what_is_no_spec_stays_itself(value):
    assert build(value) is value


def test_the_spec_is_not_changed():
    spec = {"name": "degrade.chain.Chain", "steps": [dict(NOISE)]}
    build(spec)
    assert spec == {"name": "degrade.chain.Chain", "steps": [NOISE]}


def test_a_linen_module_is_built_without_its_parent():
    net = build({"name": "nets.unet.UNet", "width": 8, "multipliers": [1, 2]})
    assert isinstance(net, nn.Module)
    assert (net.width, net.multipliers) == (8, (1, 2))


def test_a_function_is_called():
    assert build({"name": "ops.resize.resize_weights", "n_in": 4, "n_out": 2}).shape == (2, 4)


# A module of one's own

SOURCE = """
from dataclasses import dataclass
from restore_jax.core import Observation

@dataclass(frozen=True)
class Invert:
    top: float = 1.0
    def __call__(self, key, x):
        return Observation(y=self.top - x)

def plain(size):
    return size

inverted = Invert()
"""


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """A package outside ours, by a name that nothing else has."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab/__init__.py").write_text("")
    (tmp_path / "my_lab/colour.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_lab", "my_lab.colour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "my_lab"


@pytest.mark.usefixtures("my_lab")
def test_a_member_may_live_elsewhere():
    spec = {"name": "my_lab.colour.Invert", "top": 0.5}
    mine = build(spec)
    assert mine.top == 0.5
    assert spec_of(mine) == spec
    assert build({"name": "degrade.chain.Chain", "steps": [spec]}).steps == (mine,)
    assert build({**spec, "top": 1}).top == 1  # an int may stand for a float
    assert build({"name": "my_lab.colour.plain", "size": "any"}) == "any"  # no annotation, no check


@pytest.mark.usefixtures("my_lab")
def test_a_member_elsewhere_is_corrected_too():
    with pytest.raises(SpecError, match=r"my_lab\.colour has no 'Invrt'. Did you mean 'my_lab\.colour\.Invert'"):
        build({"name": "my_lab.colour.Invrt"})


def test_what_a_module_elsewhere_lacks_is_said(my_lab):
    """Its own import error, not that the module is not there."""
    (my_lab / "__init__.py").write_text("import a_module_that_is_not_installed")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_installed"):
        build({"name": "my_lab.colour.Invert"})


# What is said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"name": "degrade.noise.Gausian"},
            r"spec: restore_jax\.degrade\.noise has no 'Gausian'\. Did you mean 'degrade\.noise\.Gaussian'",
        ),
        (
            {"name": "degrade.nois.Gaussian"},
            r"spec: there is no 'degrade\.nois\.Gaussian'\. Did you mean 'degrade\.noise\.Gaussian'",
        ),
        (
            {"name": "nets.unet.UNet.width"},
            r"spec: there is no 'nets\.unet\.UNet\.width'\. Did you mean 'nets\.unet\.UNet'",
        ),
        ({"name": "Gaussian"}, r"spec: a name reads like 'nets\.unet\.UNet', not 'Gaussian'\."),
        ({"name": 3}, r"spec: a name reads like 'nets\.unet\.UNet', not 3\."),
        ({"name": ".Gaussian"}, r"spec: there is no '\.Gaussian'\."),
        ({"name": "..Gaussian"}, r"spec: there is no '\.\.Gaussian'\."),
        (
            {"name": "nowhere.at.all.Qqq"},
            r"spec: there is no 'nowhere\.at\.all\.Qqq'\. (There are: .*degrade\.blur\.GaussianBlur|Did you mean)",
        ),
        ({**NOISE, "sdt": 1.0}, r"spec: degrade\.noise\.Gaussian has no field 'sdt'\. Did you mean 'std'\?"),
        ({**NOISE, "wholly": 1.0}, r"spec: degrade\.noise\.Gaussian has no field 'wholly'\. There are: std\."),
        (
            {**NOISE, "std": "0.1"},
            r"spec\.std: degrade\.noise\.Gaussian wants float \| tuple\[float, float\], not '0\.1' \(str\)",
        ),
        ({**NOISE, "std": True}, r"spec\.std: .* not True \(bool\)"),
        ({**NOISE, "std": None}, r"spec\.std: .* not None \(NoneType\)"),
        ({**NOISE, "std": [0.1, 0.2, 0.3]}, r"spec\.std: .* not \(0\.1, 0\.2, 0\.3\) \(tuple\)"),
        ({**NOISE, "std": [0.1, "0.2"]}, r"spec\.std: .* not \(0\.1, '0\.2'\) \(tuple\)"),
        ({"name": "degrade.mask.Strokes", "strokes": 2.0}, r"spec\.strokes: .* wants int, not 2\.0 \(float\)"),
        ({"name": "degrade.mask.Strokes", "strokes": True}, r"spec\.strokes: .* wants int, not True \(bool\)"),
        (
            {"name": "nets.unet.UNet", "multipliers": [1, 2.5]},
            r"spec\.multipliers: .* wants tuple\[int, \.\.\.\], not \(1, 2\.5\)",
        ),
        (
            {"name": "nets.unet.UNet", "multipliers": 2},
            r"spec\.multipliers: .* wants tuple\[int, \.\.\.\], not 2 \(int\)",
        ),
        ({"name": "nets.unet.UNet", "parent": None}, r"spec: nets\.unet\.UNet has no field 'parent'"),
        ({"name": "ops.resize.resize_weights", "n_in": 4}, r"spec: ops\.resize\.resize_weights also needs n_out\."),
        ({**CHAIN, "steps": [BLUR, {**NOISE, "std": "a"}]}, r"spec\.steps\[1\]\.std: degrade\.noise\.Gaussian wants"),
        (
            {"train": {"degrade": {**NOISE, "st": 1}}},
            r"spec\.train\.degrade: degrade\.noise\.Gaussian has no field 'st'",
        ),
        ({**CHAIN, "steps": NOISE}, r"spec\.steps: degrade\.chain\.Chain wants tuple\["),
    ],
)
def test_an_error_says_where_and_what_was_meant(spec, said):
    with pytest.raises(SpecError, match=said):
        build(spec)


def test_the_place_can_be_named():
    with pytest.raises(SpecError, match=r"config\.degrade: degrade\.noise\.Gaussian has no field"):
        build({**NOISE, "sdt": 1.0}, where="config.degrade")


def test_a_value_that_the_object_refuses_is_its_own_error():
    with pytest.raises(ValueError, match=r"Gaussian\.std must be"):
        build({**NOISE, "std": -1.0})


def test_did_you_mean():
    assert did_you_mean("std", ["std", "name"]) == " Did you mean 'std'?"
    assert did_you_mean("bar", ["bat", "baz", "xyzzy"]) == " Did you mean 'baz' or 'bat'?"
    assert did_you_mean("q", ["b", "a", "a"]) == " There are: a, b."
    assert did_you_mean("q", []) == ""


# And back


def test_every_package_gives_examples():
    packages = {spec["name"].partition(".")[0] for spec in EXAMPLES}
    assert {"degrade", "metrics", "nets", "diffusion", "targets"} <= packages
    assert [spec for spec in examples("restore_jax.degrade") if spec not in EXAMPLES] == []


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=[f"{i}-{spec['name']}" for i, spec in enumerate(EXAMPLES)])
def test_every_example_goes_round(number):
    thing = build(EXAMPLES[number])
    spec = spec_of(thing)
    assert build(spec) == thing
    assert spec_of(build(spec)) == spec
    assert spec["name"] == EXAMPLES[number]["name"]
    # Every field is told, defaults included, and nothing else.
    own = {field.name for field in dataclasses.fields(thing) if field.init} - {"parent", "name"}
    assert set(spec) == own | {"name"}


def test_a_spec_is_plain():
    assert spec_of(build(CHAIN)) == {**CHAIN, "steps": (BLUR, NOISE)}
    assert spec_of({"a": [Gaussian(std=0.1)], "b": None}) == {"a": (NOISE,), "b": None}


def test_the_spec_of_a_linen_module_leaves_out_linens_own():
    spec = spec_of(UNet(width=8, name="inner"))
    assert spec["name"] == "nets.unet.UNet"
    assert spec["width"] == 8
    assert "parent" not in spec


def test_the_spec_of_a_function_is_its_path():
    assert spec_of(did_you_mean) == "restore_jax.build.did_you_mean"
