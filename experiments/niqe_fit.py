"""Fits the statistics of pristine photographs that `metrics.niqe.Niqe` measures from.

    python -m experiments.niqe_fit [--folder PHOTOGRAPHS] [--every 5] [--longest_px 720] [--out niqe.json]

Without a folder it takes the embedded photographs, which are too few to publish numbers from. Photographs larger than
`--longest_px` are reduced to that first, which also takes away most of what JPEG did to them. Writes mean and
covariance of 36 features, and nothing of any picture: the file is a few kilobytes of numbers.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.data.sets.embedded import Embedded
from restore_jax.data.sets.folder import Folder
from restore_jax.metrics.niqe import FITTED, fit
from restore_jax.ops.resize import resize
from restore_jax.photo.read import PhotoError


def pictures(
    photographs: Embedded | Folder, every: int, longest_px: int, patch_px: int
) -> Iterator[Float[Array, "h w c"]]:
    """Every `every`-th photograph in [0, 1], no side above `longest_px`, whole patches, at least 3 x 3 of them."""
    for i in range(0, len(photographs), every):
        photo = np.asarray(photographs[i])
        h, w = photo.shape[:2]
        share = min(1.0, longest_px / max(h, w))
        x = jnp.asarray(photo, jnp.float32) / 255
        if share < 1:
            x = jnp.clip(resize(x, round(share * h), round(share * w)), 0.0, 1.0)
        h, w = (n // patch_px * patch_px for n in x.shape[:2])
        if min(h, w) >= 3 * patch_px:
            yield x[:h, :w]


def main(argv: list[str] | None = None) -> int:
    """0 when the file was written, 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(
        prog="niqe_fit", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", default="", help="pristine photographs; the embedded ones if left out")
    parser.add_argument("--every", type=int, default=1, help="take one photograph of so many")
    parser.add_argument("--longest_px", type=int, default=720)
    parser.add_argument("--patch_px", type=int, default=96)
    parser.add_argument("--out", default=str(FITTED))
    args = parser.parse_args(argv)
    try:
        photographs = Folder(args.folder) if args.folder else Embedded("train")
        fitted = fit(pictures(photographs, args.every, args.longest_px, args.patch_px), args.patch_px)
    except (ValueError, OSError, PhotoError) as error:
        print(f"niqe_fit: {error}", file=sys.stderr)
        return 1
    about = {"fitted_to": "a folder of photographs" if args.folder else "the embedded photographs"}
    Path(args.out).write_text(json.dumps(about | {"longest_px": args.longest_px} | fitted, indent=None) + "\n")
    print(f"{fitted['pictures']} photographs, {fitted['patches']} sharp patches: {args.out}")
    return 0


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    sys.exit(main())
