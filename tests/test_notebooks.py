"""Notebooks and their scripts say the same, and every cell runs."""

import ast
import importlib
from pathlib import Path

import jupytext
import nbclient
import pytest

COLAB = Path(__file__).parents[1] / "colab"
SCRIPTS = sorted(COLAB.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_the_pair_agrees(script):
    text, notebook = jupytext.read(script), jupytext.read(script.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in text.cells] == [(c.cell_type, c.source) for c in notebook.cells]
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs do not belong in git"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_every_cell_compiles_and_its_imports_exist(script):
    for cell in jupytext.read(script.with_suffix(".ipynb")).cells:
        tree = ast.parse(cell.source) if cell.cell_type == "code" else ast.parse("")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("restore_jax"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:  # a name of the module, or a module inside it
                    assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


FAST = {"restore_a_photograph", "degrade_and_look"}  # a kernel's start is most of each: the others run in the soak


@pytest.mark.parametrize(
    "script", [pytest.param(p, marks=[] if p.stem in FAST else [pytest.mark.soak], id=p.stem) for p in SCRIPTS]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq")
def test_every_cell_runs(script, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_JAX_SMOKE", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "PSNR" in notebook.cells[-1].outputs[-1]["text"]
