"""Notebooks and their scripts say the same, and every cell runs."""

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
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq")
def test_every_cell_runs(script, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_JAX_SMOKE", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "PSNR" in notebook.cells[-1].outputs[-1]["text"]
