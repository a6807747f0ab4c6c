"""Draws x, y, A^T y and A^+ y of a degradation side by side; where there is no A, three draws of y."""

import argparse
import json
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("what", choices=("degrade",))
    parser.add_argument("spec", help="a name such as degrade.blur.GaussianBlur, or a whole spec as JSON")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=256, help="the upper left square that is shown (256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Draws."""
    import jax
    import numpy as np

    from restore_jax.build import build
    from restore_jax.core import pinv
    from restore_jax.evaluate.figure import panels, visible
    from restore_jax.photo.read import read
    from restore_jax.photo.write import write

    spec = json.loads(args.spec) if args.spec.startswith("{") else {"name": args.spec}
    x = read(args.image).astype(np.float32)[: args.crop, : args.crop] / 255
    degrade = jax.jit(build(spec))
    obs = degrade(jax.random.key(args.seed), x)
    pictures = {"x": x, "y": obs.y}
    if obs.operator is not None:
        pictures |= {"A.adjoint(y)": obs.operator.adjoint(obs.y), "pinv(A, y)": pinv(obs.operator, obs.y)}
    else:
        pictures |= {f"y, seed {n}": degrade(jax.random.key(n), x).y for n in (args.seed + 1, args.seed + 2)}
    write(args.output, panels({k: visible(v) for k, v in pictures.items()}, str(spec), columns=len(pictures)))
