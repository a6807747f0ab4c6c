"""What `import restore_jax` loads and costs, and that tests import it with its shapes checked."""

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import restore_jax
from restore_jax.core import Operator
from restore_jax.train.checkpoint import CheckpointError

HEAVY = ("tensorflow", "torch", "grain", "coremltools")


def run(source: str, cwd: Path) -> dict:
    """What `source` assigns to `said`, in a Python of its own."""
    program = f"{source}\nimport json; print(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_is_light(tmp_path):
    source = """
import sys, time
import jax
start = time.process_time()
import restore_jax
said = {"seconds": time.process_time() - start, "loaded": sorted(sys.modules)}
"""
    runs = [run(source, tmp_path) for _ in range(3)]
    assert not set(HEAVY) & set(runs[0]["loaded"])
    assert min(one["seconds"] for one in runs) < 1


def test_no_module_wants_tensorflow(tmp_path):
    """A decoy stands where TensorFlow would be, so that the test means the same where it is not installed."""
    (tmp_path / "tensorflow.py").write_text("import sys; sys.wanted = True\nraise ImportError('a decoy')")
    source = """
import importlib, pkgutil, sys
sys.wanted = False
import restore_jax
names = [info.name for info in pkgutil.walk_packages(restore_jax.__path__, "restore_jax.")]
wanting = []
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
        if sys.wanted:
            wanting.append(name)
            sys.wanted = False
said = {"names": names, "wanting": wanting}
"""
    said = run(source, tmp_path)
    assert "restore_jax.core" in said["names"]
    assert said["wanting"] == []


def test_load_is_at_the_front_door(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        restore_jax.load(tmp_path / "nothing")


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeError, match=r"(?s)Type-check error.*h w c"):
        Operator(in_shape=(2, 2, 1))(jnp.zeros((2, 2)))


def test_ranks_do_not_mix_in_tests():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.zeros((2, 3)) + jnp.zeros(3)


OURS = ("restore_jax", "benchmarks", "experiments", "configs")
ROOT = Path(restore_jax.__file__).parents[1]
COMMANDS = sorted(str(p.relative_to(ROOT)) for folder in OURS[1:3] for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", COMMANDS)
def test_what_a_command_imports_is_there(path):
    """Each name of this project that the file imports, anywhere in it; a library that is not installed excuses."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.ImportFrom) or str(node.module).partition(".")[0] not in OURS:
            continue
        try:
            module = importlib.import_module(str(node.module))
        except ModuleNotFoundError as missing:
            if str(missing.name).partition(".")[0] in OURS:
                raise
            pytest.skip(f"{node.module} wants {missing.name}, which is not installed.")
        for name in (alias.name for alias in node.names):
            package = hasattr(module, "__path__")
            there = hasattr(module, name) or (package and importlib.util.find_spec(f"{node.module}.{name}"))
            assert there, f"{path}:{node.lineno}: there is no {name} in {node.module}"
