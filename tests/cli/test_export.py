"""A graph, by the command."""

import json

import pytest

from restore_jax.cli import main


def test_export_stablehlo(workdir, tmp_path, capsys):
    path = tmp_path / "net.stablehlo"
    command = ["export", str(workdir), "--to", "stablehlo", "--size", "16x24", "--steps", "2", "--check"]
    assert main([*command, "-o", str(path)]) == 0
    assert path.stat().st_size > 0
    shapes, row = capsys.readouterr().out.splitlines()
    assert "noise (1, 16, 24, 6)" in shapes
    assert json.loads(row)["agrees"]
    assert json.loads(path.with_suffix(".json").read_text())["steps"] == "2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "16"], "size must read like 256x256"),
        (["--to", "onnx", "--precision", "fp16"], "Recipe.precision for onnx"),
        (["--calibrate", "photos"], "goes with precisions that look at photographs"),
        (["--size", "16x17"], "The next are 16x16 and 16x18"),
    ],
)
def test_what_cannot_be_is_one_line(workdir, tmp_path, capsys, options, message):
    assert main(["export", str(workdir), "-o", str(tmp_path / "net.tflite"), *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
