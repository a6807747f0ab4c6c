"""A thing is called what it is, says what it is, stays short, and has its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted(path.relative_to(ROOT) for path in (ROOT / "restore_jax").rglob("*.py"))
OURS = [
    path.relative_to(ROOT)
    for folder in ("restore_jax", "configs", "experiments", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
]

NO_NOUN = re.compile(r"(test_)?(utils?|common|helpers?|misc|base|tools?)")
NO_VERB = re.compile(r"(get|compute|process)_(?!state$)")  # what Grain and Python call an iterator's place
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b")

# Files whose test does not bear their name, and where it is.
TESTED_ELSEWHERE: dict[str, str] = {}


def public(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every public class, function and method with its dotted name, outside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield f"{above}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{above}{node.name}.")


def mute(source: str) -> list[str]:
    """The public names whose docstring's first line is not a sentence; a method may have none of its own."""
    names = []
    for name, node in public(ast.parse(source)):
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if not first.endswith((".", ":")) and (first or "." not in name):
            names.append(name)
    return names


def vague(source: str) -> list[str]:
    """The public functions called after no particular verb."""
    return [name for name, _ in public(ast.parse(source)) if NO_VERB.match(name.rpartition(".")[2])]


def places(path: Path) -> list[Path]:
    """Where the tests of a file may be: its mirror, or where it has EXAMPLES a law-suite at or above it."""
    inside = path.relative_to("restore_jax")
    folder = ROOT / "tests" / inside.parent
    found = [folder / f"test_{inside.name}"]
    if re.search(r"^EXAMPLES\b", (ROOT / path).read_text(), re.MULTILINE):
        suites = [ROOT / "tests" / up for up in inside.parents]
        found += [suite for up in suites for suite in up.glob("test_*laws.py")]
    return found


@pytest.mark.parametrize("path", PACKAGE, ids=str)
class TestFile:
    def test_says_what_its_public_names_are(self, path):
        assert mute((ROOT / path).read_text()) == []

    def test_names_its_functions_after_what_they_do(self, path):
        assert vague((ROOT / path).read_text()) == []

    def test_is_short(self, path):
        assert len((ROOT / path).read_text().splitlines()) < 400

    def test_is_finished(self, path):
        assert UNFINISHED.findall((ROOT / path).read_text()) == []

    def test_has_a_test(self, path):
        if path.name in ("__init__.py", "__main__.py") or str(path) in TESTED_ELSEWHERE:
            return
        assert any(place.is_file() for place in places(path)), f"tests/ has no mirror of {path}"


def test_no_file_without_a_noun():
    assert [str(path) for path in OURS if NO_NOUN.fullmatch(path.stem)] == []


def test_the_exceptions_are_still_true():
    for path, where in TESTED_ELSEWHERE.items():
        assert (ROOT / path).is_file(), f"{path} is gone: so should be its exception"
        assert (ROOT / where).is_file(), f"{path} is said to be tested in {where}, which is not there"


@pytest.mark.parametrize(
    "source",
    [
        "def f(): pass",
        'def f():\n    """No stop"""',
        'class A:\n    """A thing,\n    which goes on."""',
        'class A:\n    """A."""\n    def f(self):\n        """No stop"""',
    ],
)
def test_a_mute_name_is_found(source):
    assert len(mute(source)) == 1


def test_a_name_that_speaks_passes():
    assert mute('def f():\n    """The formula:\n\n    x."""\nclass A:\n    """A."""\n    def f(self): pass') == []
    assert mute("def _f(): pass") == []


def test_a_vague_or_unfinished_one_is_found():
    assert vague("def compute_loss(): pass\nclass A:\n    def get_x(self): pass") == [
        "compute_loss",
        "A.get_x",
    ]
    assert NO_NOUN.fullmatch("utils")
    assert NO_NOUN.fullmatch("test_helpers")
    assert not NO_NOUN.fullmatch("baseline")
    assert UNFINISHED.search("x = 1  # TODO: more")
    assert not UNFINISHED.search("except NotImplementedError:")
