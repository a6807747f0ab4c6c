"""Shows what each shipped model does to a photograph that none has seen: seconds, and one picture.

restore-jax demo
restore-jax demo denoise sr4 -o demo
"""

import argparse
from pathlib import Path

SIDE_PX = 256


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="shipped models by name, or folders; all by default")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="for the picture")
    parser.add_argument("--seed", type=int, default=1, help="of the damage (1)")


def run(args: argparse.Namespace) -> None:
    """Shows."""
    import numpy as np
    from tqdm import tqdm

    from restore_jax import zoo
    from restore_jax.data.sets.embedded import Embedded
    from restore_jax.evaluate.demo import demonstrate, sheet
    from restore_jax.photo.write import write

    names = args.models or zoo.names()
    if not names:
        raise ValueError("no models are shipped with this version: name folders that `restore-jax pack` wrote.")
    x = np.asarray(Embedded("heldout")[0])[:SIDE_PX, 96 : 96 + SIDE_PX].astype(np.float32) / 255
    shown = []
    for name in tqdm(names, desc="demo", unit="model"):
        shown.append(demonstrate(name, x, args.seed))
        tqdm.write(str(shown[-1]))
    args.output.mkdir(parents=True, exist_ok=True)
    write(args.output / "demo.png", sheet(shown, x))
    print(args.output / "demo.png")
