"""The page of the shipped models, docs/zoo.md, and what each took, results/budget.json, from their cards.

    python -m experiments.zoo [--folder restore_jax/zoo]

A card (`model.json`, by `restore-jax pack`) says what was trained, on what, for how long, and how the loss fell; what
results/zoo.json has of the same weights is noted in it, for `restore-jax models`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from experiments.results import ROOT, ROWS, publish
from experiments.scatter import Panel, svg
from restore_jax import zoo
from restore_jax.evaluate.run import weights_hash
from restore_jax.infer.load import load
from restore_jax.methods.model import Model, ModelError, note_figures, read_model

PAGE, BUDGET, CURVES = Path("docs/zoo.md"), Path("results/budget.json"), Path("docs/pictures/zoo_curves.svg")
ABREAST = 3  # curves
BUDGETED = ("devices", "seconds", "images", "crop_px", "start", "start_images", "start_seconds")
BUDGETED += ("config", "commit", "source", "date")

HEAD = """# Shipped models

Made by `python -m experiments.zoo` from the cards in [`restore_jax/zoo`](../restore_jax/zoo); do not edit this page.

```python
restore = restore_jax.load("denoise")
x_hat = restore(jax.random.key(0), Observation(y=photograph))  # infer.tile.Tile(restore) for large ones
```

`raw` takes what linear demosaicking makes of a mosaic, and gives linear RGB before the colour matrix:

```python
y = linear_to_srgb(demosaic(mosaic * gains))  # white balance first; ops.bayer, ops.color
light = srgb_to_linear(restore(key, Observation(y=y)))
```

`restore-jax demo` shows all of them, `restore-jax photo IN -o OUT --task denoise` restores with one; what they reach
stands in [results](results.md). Trained on freely licensed photographs alone, none of which is in a set that they are
measured on. Crops seen, their side in pixels, and seconds of training, compilation left out; where a model started
from another, "before" says which and how many crops that one had seen, which are not counted again.
"""


def page(models: dict[str, Model], sizes: dict[str, int]) -> dict[str, str]:
    """The files, by their paths below the repository."""
    rows = [
        "| model | task | enlarges | net | parameters | MB | crops | side | seconds | before | on | licence |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|---|---|---|",
    ]
    for name, model in models.items():
        said = model.provenance
        cells = (
            name,
            model.task,
            str(model.scale),
            model.architecture.rpartition(".")[2],
            f"{model.parameters:,}",
            f"{sizes[name] / 1e6:.2f}",
            f"{int(said['images']):,}",
            said["crop_px"],
            f"{float(said['seconds']):,.0f}",
            f"{said['start']}, {int(said.get('start_images', 0)):,}" if "start" in said else "",
            said["devices"],
            said["licence"],
        )
        rows.append("| " + " | ".join(cells) + " |")
    damage = [f"- `{name}` undoes `{json.dumps(model.degrade)}`" for name, model in models.items()]
    credits = sorted({f"- {model.provenance['credits']}" for model in models.values()})
    text = [
        HEAD,
        *rows,
        "",
        "![The losses, over crops seen](pictures/zoo_curves.svg)",
        "",
        *damage,
        "",
        "## Thanks",
        "",
    ]
    budget = {
        name: {field: model.provenance.get(field) for field in BUDGETED} | {"curve": model.curve}
        for name, model in models.items()
    }
    panels = [
        Panel(name, "crops seen", "loss of training", [("", float(x), y) for x, y in model.curve])
        for name, model in models.items()
        if model.curve
    ]
    return {
        str(PAGE): "\n".join([*text, *credits, ""]),
        str(BUDGET): json.dumps(budget, indent=1) + "\n",
        **({str(CURVES): svg(panels, ABREAST)} if panels else {}),
    }


def measured(rows: list[dict[str, Any]], name: str, weights: str) -> dict[str, float]:
    """The figures of a model's card: of the rows of these weights."""
    mine = [row for row in rows if (row["model"], row.get("weights")) == (name, weights)]
    pairs = [(f"{row['set']} {row['degradation']}", row) for row in mine]
    return {
        f"{where}, {said}": round(row[figure], 4)
        for where, row in pairs
        for figure, said in (("psnr", "PSNR dB"), ("perceptual", "perceptual"))
        if row[figure] is not None
    }


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Writes the files; 1 with the reason where it cannot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=zoo.FOLDER, help="of models")
    folder = parser.parse_args(argv).folder
    try:
        path = root / ROWS
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        for name in zoo.names(folder):
            if found := measured(rows, name, weights_hash(load(folder / name))):
                note_figures(folder / name, found)
        models: dict[str, Any] = {name: read_model(folder / name) for name in zoo.names(folder)}
        sizes = {name: (folder / name / "params.safetensors").stat().st_size for name in models}
        files = page(models, sizes)
    except (ModelError, KeyError) as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 1
    publish(root, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
