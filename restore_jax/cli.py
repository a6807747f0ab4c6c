"""The command `restore-jax`: each subcommand a little glue around what the library does.

restore-jax photo IN... -o OUT --model MODEL       restore photographs with a trained run, or an imported model
restore-jax train CONFIG --workdir DIR             as `python -m experiments.train`
restore-jax import FILE -o MODEL                   published weights of another library, as a model of ours
restore-jax evaluate MODEL                         measure it, on a run's held-out photographs or by a protocol
restore-jax export MODEL --to tflite -o FILE       one graph for a phone
restore-jax show degrade SPEC --image IN -o OUT    what a degradation does to a picture
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from restore_jax.memory import keep_freed_memory


def photo(args: argparse.Namespace) -> None:
    """Restores files, one by one; a bad file is named and the others go on."""
    import jax
    import numpy as np
    from tqdm import tqdm

    from restore_jax.core import Observation
    from restore_jax.infer.load import load
    from restore_jax.infer.tile import Tile
    from restore_jax.photo.read import PhotoError, read
    from restore_jax.photo.write import write

    restorer = Tile(load(args.model), args.tile, args.overlap)
    folder = len(args.inputs) > 1 or args.output.is_dir()
    if folder:
        args.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in tqdm(args.inputs, desc="photo", unit="photo"):
        try:
            y = read(path).astype(np.float32) / 255
            x_hat = restorer(jax.random.key(args.seed), Observation(y=y))
            write(args.output / f"{path.stem}.png" if folder else args.output, x_hat)
        except PhotoError as error:
            tqdm.write(str(error), file=sys.stderr)
            failed += 1
    if failed:
        raise SystemExit(f"{failed} of {len(args.inputs)} photographs could not be restored.")


def train(args: argparse.Namespace) -> None:
    """Trains the `get_config()` of a config file, or goes on with it."""
    from restore_jax.train.loop import Interrupted
    from restore_jax.train.loop import train as run

    try:
        run(_config(args.config), args.workdir)
    except Interrupted as stopped:
        print(stopped.message)


def import_(args: argparse.Namespace) -> None:
    """Turns published weights (.pth, .safetensors, ncnn's .param) into a model, and says what they were."""
    from restore_jax.infer.model import read_weights, write_model

    model = read_weights(args.file, args.sigma, args.licence, args.source)
    write_model(args.output, model)
    print(f"{args.output}: {model.architecture}, {model.parameters} parameters, scale {model.scale}")
    print("from {file} (sha256 {sha256}), source: {source}, licence: {licence}".format(**model.provenance))


def evaluate(args: argparse.Namespace) -> None:
    """Prints PSNR and SSIM of a run or a model: on a run's held-out photographs, or by a protocol."""
    from restore_jax.evaluate.run import evaluate as run
    from restore_jax.infer.load import load
    from restore_jax.infer.tile import Tile

    restorer = Tile(load(args.model), args.tile, args.overlap)
    protocol = _protocol(args, restorer.scale)
    rows = run(restorer, protocol)
    for row in rows:
        print("{photograph:<20} {psnr:7.3f} dB  SSIM {ssim:.4f}".format(**row))
    print("protocol {protocol}, weights {weights}".format(**rows[-1]))


def _protocol(args: argparse.Namespace, scale: int) -> Any:
    """The protocol that was asked for; else the run's own, or for an enlarging model the embedded photographs."""
    from restore_jax.evaluate.protocol import Protocol
    from restore_jax.infer.model import is_model
    from restore_jax.train.checkpoint import read

    if args.protocol:
        path, _, which = args.protocol.partition(":")
        return Protocol(**_config(Path(path), *([which] if which else [])))
    if not is_model(args.model):
        config, _, _ = read(args.model)
        return Protocol(config["heldout_set"] or config["train_set"], config["degrade"], multiple=scale)
    if scale == 1:
        raise ValueError("a model that does not enlarge is measured by a --protocol: configs/protocols/denoise.py:25.")
    downsample = {"name": "degrade.downsample.Downsample", "scale": scale}
    embedded = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
    return Protocol(embedded, downsample, multiple=scale, border_px=scale, color="luma")


def _config(path: Path, *arguments: str) -> Any:
    """What the `get_config` of a Python file answers."""
    spec = importlib.util.spec_from_file_location("config", path)
    if spec is None or spec.loader is None or not path.exists():
        raise ValueError(f"{path} is not a Python file with get_config().")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path.cwd()))  # configs share fragments, from the folder they are started in
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


def export(args: argparse.Namespace) -> None:
    """Writes a run's restorer as one graph; for TFLite, checks the file against JAX."""
    from restore_jax.export.graph import restorer_graph
    from restore_jax.infer.load import load

    graph = restorer_graph(load(args.model), *args.size)
    _writer(args.to)(graph, args.output)
    inputs = ", ".join(f"{name} {spec.shape}" for name, spec in graph.inputs.items())
    print(f"{args.output}: {inputs} -> {graph.output}")


def _writer(to: str) -> Callable[[Any, Path], Path]:
    from restore_jax.export import coreml, stablehlo, tflite

    return {"tflite": tflite.to_tflite, "coreml": coreml.to_coreml, "stablehlo": stablehlo.to_stablehlo}[to]


def show(args: argparse.Namespace) -> None:
    """Draws x, y, A^T y and A^+ y of a degradation side by side; where there is no A, three draws of y."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="restore-jax", description="Generative image restoration in JAX.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        name = run.__name__.rstrip("_")
        one = commands.add_parser(name, help=(run.__doc__ or "").splitlines()[0], description=run.__doc__)
        one.set_defaults(run=run)
        return one

    def model(one: argparse.ArgumentParser) -> None:
        about: Any = {
            "metavar": "MODEL",
            "default": argparse.SUPPRESS,
        }  # by place or by name: what is absent sets nothing
        one.add_argument("model", nargs="?", help="the workdir of a training run, or an imported model", **about)
        one.add_argument("--model", dest="model", help="the same, by name", **about)

    def tiles(one: argparse.ArgumentParser) -> None:
        one.add_argument("--tile", type=int, default=128, help="side of a tile, in pixels of the input (128)")
        one.add_argument("--overlap", type=int, default=24, help="overlap of tiles, in pixels of the input (24)")

    one = command(photo)
    one.add_argument("inputs", nargs="+", type=Path, metavar="IN")
    one.add_argument("-o", "--output", type=Path, required=True, help="a file, or a folder for several")
    one.add_argument("--model", required=True, metavar="MODEL", help="a training run's workdir, or an imported model")
    one.add_argument("--seed", type=int, default=0)
    tiles(one)
    one = command(train)
    one.add_argument("config", type=Path, help="a Python file with get_config()")
    one.add_argument("--workdir", required=True)
    one = command(import_)
    one.add_argument("file", type=Path, metavar="FILE", help="published weights: .pth, .safetensors, or ncnn's .param")
    one.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="the folder to write")
    one.add_argument("--licence", default="unknown", help="of the weights, as their authors give it")
    one.add_argument("--source", default="unknown", help="where the file was found")
    one.add_argument("--sigma", type=_level, help="for a net that is told the noise level: 25/255, or 0.098")
    one = command(evaluate)
    model(one)
    one.add_argument("--protocol", metavar="FILE[:WHICH]", help="get_config(WHICH), as configs/protocols/x4.py:Set5")
    tiles(one)
    one = command(export)
    model(one)
    one.add_argument("--to", choices=("tflite", "coreml", "stablehlo"), default="tflite")
    one.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="of the input")
    one.add_argument("-o", "--output", type=Path, required=True)
    one = command(show)
    one.add_argument("what", choices=("degrade",))
    one.add_argument("spec", help="a name such as degrade.blur.GaussianBlur, or a whole spec as JSON")
    one.add_argument("--image", type=Path, required=True)
    one.add_argument("--crop", type=int, default=256, help="the upper left square that is shown (256)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("-o", "--output", type=Path, required=True)
    return parser


def _level(text: str) -> float:
    """A noise level, as a number or a fraction."""
    return float(Fraction(text))


def main(argv: list[str] | None = None) -> int:
    """Runs a subcommand; what a user can mend ends in one line on stderr and status 1."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.run in (evaluate, export) and "model" not in args:
        parser.error("give a model: the workdir of a training run, or the folder that `restore-jax import` wrote.")
    keep_freed_memory()
    try:
        args.run(args)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"restore-jax: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
