"""docs/papers.md is complete and true: what it names exists, and what cites a paper is named there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "papers.md").read_text()
LINES = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in line] for line in LINES[1:]]
CITING = ("diffusion", "targets", "methods")


def test_every_row_is_paper_equation_file_test():
    assert len(ROWS) > 50
    for row in ROWS:
        assert len(row) == 4, row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_files_members_and_tests_exist(row):
    for name in re.findall(r"`([^`]+)`", row[2]):
        path, _, members = name.partition(": ")
        assert (ROOT / "restore_jax" / path).exists(), path
        if members:
            module = importlib.import_module("restore_jax." + path.removesuffix(".py").replace("/", "."))
            for member in members.split(", "):
                assert hasattr(module, member), f"{path} has no {member}"
    tests = re.findall(r"`([^`]+)`", row[3])
    assert tests
    for test in tests:
        assert (ROOT / test).exists(), test


def test_what_cites_a_paper_is_on_the_page():
    missing = []
    for package in CITING:
        for path in sorted((ROOT / "restore_jax" / package).rglob("*.py")):
            name = path.relative_to(ROOT / "restore_jax").as_posix()
            if "Reference:" in path.read_text() and f"`{name}" not in PAGE:
                missing.append(name)
    assert not missing, f"docs/papers.md does not name {missing}"
