"""The tables of docs/export.md from `results/export.json`.

python -m benchmarks.export_table
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.record import ROOT

PUBLISHED = "| net | format | precision | bytes | share | PSNR to float32, dB | to the truth, dB | largest difference |"
TIMES = (
    "| net | thousand products a pixel of y | activations at once, MB | JAX, ms | float32, 1 and 2 threads "
    "| int8-dynamic | int8-static | onnxruntime | PyTorch |"
)
NETS = "| net | TFLite | Core ML | ONNX | StableHLO |"


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Markdown: the first column of words, the rest of numbers."""
    columns = head.count("|") - 1
    return "\n".join([head, "|---" + "|--:" * (columns - 1) + "|", *("| " + " | ".join(row) + " |" for row in rows)])


def figure(value: float | None, form: str) -> str:
    """A number, or nothing where there is none."""
    return "" if value is None else format(value, form)


def published(rows: list[dict[str, Any]]) -> str:
    """Every file of the nets with published weights: what fewer bits cost."""
    full = {(row["model"], row["format"]): row["bytes"] for row in rows if row.get("precision") == "fp32"}

    def line(row: Mapping[str, Any]) -> Iterable[str]:
        truth = None if row["psnr_to_truth"] is None else row["psnr_to_truth"] - row["truth_fp32"]
        first = (row["model"], row["format"], row["precision"], f"{row['bytes']:,}")
        share = row["bytes"] / full.get((row["model"], row["format"]), row["bytes"])
        db = figure(row["psnr_to_fp32"], ".1f"), figure(truth, "+.3f"), figure(row["max_diff"], ".1e")
        return (*first, f"{share:.2f}", *db)

    return table(PUBLISHED, [line(row) for row in rows if "bytes" in row])


def times(rows: list[dict[str, Any]]) -> str:
    """The TFLite files of the same nets, side by side with other runtimes."""
    lines = []
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = {row["precision"]: row for row in rows if row["model"] == name and row["format"] == "tflite"}
        if "ms_1" not in mine.get("fp32", {}):
            continue
        full = mine["fp32"]
        height, width = (int(side) for side in full["size"].split("x"))

        def pair(precision: str, mine: Mapping[str, Any] = mine) -> str:
            row = mine.get(precision, {})
            return f"{row['ms_1']:.0f}, {row['ms_2']:.0f}" if "ms_1" in row else ""

        cost = f"{full['macs'] / height / width / 1e3:,.0f}", f"{full['peak_bytes'] / 1e6:.1f}"
        others = figure(full["ort_ms"], ".0f"), figure(full["torch_ms"], ".0f")
        eight = pair("int8-dynamic"), pair("int8-static")
        lines.append((f"{name}, {full['size']}", *cost, figure(full["jax_ms"], ".0f"), pair("fp32"), *eight, *others))
    return table(TIMES, lines)


def differences(rows: list[dict[str, Any]]) -> str:
    """The largest difference of every net's float32 files, over the largest value of the answer."""
    formats = ("tflite", "coreml", "onnx", "stablehlo")
    found = {(row["model"], row["format"]): row for row in rows}

    def cell(row: Mapping[str, Any] | None) -> str:
        return "" if row is None else "refused" if "refused" in row else figure(row["max_diff"], ".0e")

    names = dict.fromkeys(row["model"] for row in rows)
    return table(NETS, [(name, *(cell(found.get((name, to))) for to in formats)) for name in names])


def main() -> None:
    """Prints the three tables."""
    figures = json.loads((ROOT / "results" / "export.json").read_text())["figures"]
    parts: dict[str, list[dict[str, Any]]] = {"published": [], "steps": [], "nets": []}
    for row in figures["rows"]:
        parts[row["part"]].append(row)
    tables = published(parts["published"]), times(parts["published"]), differences(parts["steps"] + parts["nets"])
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
