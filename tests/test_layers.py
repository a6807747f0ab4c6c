"""Imports point down: inside its own folder, or to a folder with a strictly smaller number."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("core", "build", "cpu", "zoo"),
    ("ops",),
    ("degrade", "diffusion", "nets", "photo"),
    ("metrics", "targets", "data"),
    ("methods",),
    ("train",),
    ("infer",),
    ("export",),
    ("evaluate", "app"),
    ("cli",),
    ("testing",),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
OUTSIDE = ("configs", "experiments", "benchmarks", "tests")  # the package knows nothing of these
TENSORFLOW_IN = ("data", "export")


def imports(tree: ast.AST, package: str, lazy: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Every imported name of a module that lies in `package`, its line, and whether a function does it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(next(iter(node.args), None), ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value), node.lineno, lazy
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(node, package, lazy or inside)


def home(name: str) -> str | None:
    """The folder or file of the package that a dotted name lives in; None for anything else."""
    parts = name.split(".")
    return parts[1] if parts[0] == "restore_jax" and len(parts) > 1 and parts[1] in LAYER else None


def violations(path: str, source: str) -> list[str]:
    """What the imports of the file at `path`, relative to the repository, do against the rules."""
    parts = Path(path).with_suffix("").parts
    here = home(".".join(parts))
    found = []
    for name, line, lazy in imports(ast.parse(source), ".".join(parts[:-1])):
        top, there = name.split(".")[0], home(name)
        say = f"{path}:{line}: {name}: "
        if parts[0] == "configs":
            if top in ("restore_jax", "experiments", "benchmarks", "tests"):
                found.append(say + "a config holds strings, numbers and dicts only")
            continue
        if top in OUTSIDE:
            found.append(say + "the package imports nothing from outside itself")
        door = path == "restore_jax/__init__.py" and lazy  # the front door is below all rooms, and opens into them
        if there is not None and there != here and not door and (here is None or LAYER[there] >= LAYER[here]):
            found.append(say + f"{here or 'restore_jax'} may only import what lies below it")
        if top == "tensorflow":
            if here not in TENSORFLOW_IN:
                found.append(say + "TensorFlow stays inside data and export")
            elif not lazy:
                found.append(say + "TensorFlow is imported inside the function that needs it")
    return found


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("restore_jax") + files("configs"))
def test_imports_point_down(path):
    assert violations(path, (ROOT / path).read_text()) == []


def test_everything_in_the_package_has_a_layer():
    names = {Path(path).relative_to("restore_jax").with_suffix("").parts[0] for path in files("restore_jax")}
    assert names - {"__init__", "__main__"} <= set(LAYER)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("restore_jax/ops/color.py", "import restore_jax.nets.layers"),
        ("restore_jax/ops/color.py", "from restore_jax.nets.layers import layer_norm"),
        ("restore_jax/ops/color.py", "from restore_jax import nets"),
        ("restore_jax/ops/color.py", "from ..nets import layers"),
        ("restore_jax/ops/color.py", "from .. import nets"),
        ("restore_jax/ops/color.py", "def f():\n    import restore_jax.train.loop"),
        ("restore_jax/ops/color.py", "import importlib\nimportlib.import_module('restore_jax.train.loop')"),
        ("restore_jax/nets/unet.py", "from restore_jax.degrade import blur"),  # siblings
        ("restore_jax/data/sets/div2k.py", "if True:\n    from restore_jax.metrics.psnr import Psnr"),
        ("restore_jax/diffusion/posterior/ddnm.py", "from ...nets import unet"),
        ("restore_jax/core.py", "import restore_jax.build"),
        ("restore_jax/cli/photo.py", "import restore_jax.testing.gaussian"),
        ("restore_jax/__init__.py", "from restore_jax import core"),
        ("restore_jax/train/loop.py", "import experiments.train"),
        ("restore_jax/train/loop.py", "from configs import denoise"),
        ("restore_jax/train/loop.py", "import tensorflow as tf"),
        ("restore_jax/train/loop.py", "def f():\n    import tensorflow as tf"),
        ("restore_jax/data/sets/prepare.py", "import tensorflow as tf"),
        ("restore_jax/export/graph.py", "class A:\n    from tensorflow import lite"),
        ("configs/denoise.py", "from restore_jax.nets.unet import UNet"),
        ("configs/denoise.py", "def get_config():\n    import restore_jax"),
    ],
)
def test_a_bad_import_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("restore_jax/__init__.py", "def load():\n    from restore_jax.infer.load import load"),
        ("restore_jax/ops/color.py", "import jax\nfrom restore_jax.core import Operator"),
        ("restore_jax/ops/color.py", "from . import resize\nfrom .filter import gaussian_blur"),
        (
            "restore_jax/diffusion/posterior/ddnm.py",
            "from ..sampler import run\nfrom restore_jax import core",
        ),
        ("restore_jax/cli/photo.py", "from restore_jax import __version__\nfrom restore_jax.export import tflite"),
        ("restore_jax/data/sets/prepare.py", "def f():\n    import tensorflow as tf"),
        ("restore_jax/testing/laws.py", "from restore_jax.cli import main"),
        ("configs/denoise.py", "from ml_collections import ConfigDict\nfrom configs import fragments"),
    ],
)
def test_a_good_import_passes(path, source):
    assert violations(path, source) == []
