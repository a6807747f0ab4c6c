"""What runs outside Python: Swift and Kotlin that parse, and ask for what the exporter writes."""

import importlib
from pathlib import Path

import pytest

PHONE = Path(__file__).parents[2] / "experiments" / "phone"


@pytest.mark.parametrize(("language", "name"), [("swift", "Restore.swift"), ("kotlin", "Restore.kt")])
def test_the_sources_parse(language, name):
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = tree_sitter.Language(importlib.import_module(f"tree_sitter_{language}").language())
    source = (PHONE / name).read_bytes()
    tree = tree_sitter.Parser(grammar).parse(source)
    assert not tree.root_node.has_error
    assert tree_sitter.Parser(grammar).parse(source.replace(b"{", b"(", 1)).root_node.has_error


def test_they_ask_for_what_the_exporter_writes():
    for name, words in {
        "Restore.swift": ('"y"', '"x_hat"', '"scale"', '"halo_px"'),
        "Restore.kt": ('"y"', '"x_hat"', '"serving_default"'),
    }.items():
        assert all(word in (PHONE / name).read_text() for word in words)
