"""The page of results is what the command makes of the rows, and of rows that compare."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from experiments.results import PICTURES, ROWS, add, main, page
from experiments.scatter import HEIGHT, WIDTH, Panel, svg, ticks

ROOT = Path(__file__).parents[2]


def row(model, **fields):
    numbers = {"psnr": 30.0, "ssim": 0.9, "perceptual": 0.3, "niqe": None, "nfe": 1, "params": 10, "bytes": 40}
    stamps = {"protocol": "p", "pictures": "q", "weights": "w", "commit": "c", "count": 5, "s_per_mp": 0.5}
    return {"model": model, "set": "Set5", "degradation": "noise-25", **numbers, **stamps, **fields}


def test_the_page_in_the_tree_is_what_the_command_makes():
    made = page(json.loads((ROOT / ROWS).read_text()))
    for name, text in made.items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: python -m experiments.results"
    there = {str(PICTURES / path.name) for path in (ROOT / PICTURES).glob("results_*")}
    assert there == made.keys() - {"docs/results.md"}, "a picture that no row is shown in"


def test_every_number_in_the_tree_says_how_it_was_made():
    for one in json.loads((ROOT / ROWS).read_text())["rows"]:
        assert all(one[name] for name in ("protocol", "pictures", "commit", "count"))
        assert "+" not in one["commit"], "measured by code that is in no commit"


def test_rows_are_added_replaced_and_shown(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"rows": [row("net"), row("bicubic", psnr=28.0, bytes=0, params=0, nfe=0)]}))
    second.write_text(json.dumps({"rows": [row("net", psnr=31.25)]}))
    assert main(["--add", str(first), str(second)], tmp_path) == 0
    text = (tmp_path / "docs/results.md").read_text()
    assert "| net | 1 | 10 | 0.00 | 31.250 | 0.9000 | 0.300 |  | 0.50 |" in text
    assert text.index("| net") < text.index("| bicubic")
    assert "30.000" not in text
    assert "Protocol p, 5 pictures q, commit c. Weights: net w" in text
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert main([], tmp_path) == 0
    assert before == {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}


def test_evaluations_are_a_plane_of_their_own_where_they_differ():
    made = page({"rows": [row("one"), row("two", nfe=17), row("given", nfe=0, params=0)]})
    picture = made[str(PICTURES / "results_Set5_noise-25.svg")]
    assert "Perception and evaluations" in picture
    assert (
        "Perception and evaluations"
        not in page({"rows": [row("one"), row("two")]})[str(PICTURES / "results_Set5_noise-25.svg")]
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("a"), row("b", protocol="other")], "not of one protocol"),
        ([row("a"), row("b", pictures="other")], "not of one pictures"),
        ([row("a"), row("a")], "stands twice"),
        ([{"model": "a", "set": "Set5", "degradation": "d"}], "a row of a lacks psnr"),
    ],
)
def test_rows_that_do_not_compare_make_no_page(rows, said):
    with pytest.raises(ValueError, match=said):
        page({"rows": rows})


def test_a_file_that_does_not_fit_changes_nothing(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"rows": [row("a"), row("b", protocol="other")]}))
    assert main(["--add", str(file)], tmp_path) == 1
    assert "not of one protocol" in capsys.readouterr().err
    assert not (tmp_path / ROWS).exists()


def test_results_keep_their_note():
    assert add({"note": "n", "rows": []}, [row("a")])["note"] == "n"


def test_points_are_where_their_numbers_say():
    points = [("a & b", 1.0, 10.0), ("c", 10.0, 20.0), ("d", 100.0, 30.0)]
    tree = ET.fromstring(svg([Panel("t", "x", "y", points, log=True)]))
    dots = [(float(e.get("cx")), float(e.get("cy"))) for e in tree.iter() if e.tag.endswith("circle")]
    (x1, y1), (x2, y2), (x3, y3) = dots
    assert abs((x2 - x1) - (x3 - x2)) < 0.11, "a decade is a decade, to the digits that are written"
    assert abs((y1 - y2) - (y2 - y3)) < 0.11
    assert y3 < y1, "up is more"
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in dots)
    assert {"a & b", "c", "d"} <= {e.text for e in tree.iter()}
    assert svg([Panel("t", "x", "y", points[:1])]).count("<circle") == 1


def test_plots_are_of_what_has_parameters():
    rows = [row("a"), row("b", psnr=31.0), row("bicubic", params=0, bytes=0)]
    of = lambda rows: next(text for name, text in page({"rows": rows}).items() if name.endswith(".svg"))
    assert "bicubic" not in of(rows)
    assert "bicubic" in of(rows[1:])


def test_ticks_are_round_and_inside():
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(28.1, 32.6) == pytest.approx([29, 30, 31, 32])
    assert ticks(0.6, 1.8, log=True) == pytest.approx([1.0, 1.5])
    assert ticks(0.03, 3.0, log=True) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])
