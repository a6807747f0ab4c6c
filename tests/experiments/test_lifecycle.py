"""The whole life in miniature: every stage runs, the report has its rows, and a second start computes nothing again."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("litert_converter", reason="the life of a model ends with the extra [export]")
pytest.importorskip("coremltools", reason="the life of a model ends with the extra [export]")

ROOT = Path(__file__).parents[2]


def life(out: Path) -> tuple[str, float]:
    begun = time.monotonic()
    command = [sys.executable, "-m", "experiments.lifecycle", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - begun


@pytest.mark.soak
def test_a_quick_life(tmp_path):
    said, first_s = life(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["bicubic", "regression", "teacher", "student-1", "student-2"]
    assert [row["nfe"] for row in report["rows"]] == [0, 1, 17, 1, 2]
    assert all({"psnr", "ssim", "s_per_mp"} <= row.keys() for row in report["rows"])
    assert report["export"]["tflite"]["max_abs_diff"] < 1e-4
    assert set(report["export"]["coreml"]["inputs"]) == {"y", "noise"}
    assert report["protocol"]["hash"] == report["rows"][0]["photographs"][0]["protocol"]
    for name in ("report.md", "comparison.png", "student-1.tflite", "student-2.tflite", "student-2.mlpackage"):
        assert (tmp_path / name).exists(), name
    assert "student-2" in said
    _, second_s = life(tmp_path)
    assert second_s < first_s / 2
    assert json.loads((tmp_path / "report.json").read_text())["rows"] == report["rows"]
