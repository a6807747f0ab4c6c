"""A model as files: what it is, where it came from, and its numbers.

    MODEL/model.json            the method's spec; size, scale, provenance, and the hash of the numbers
    MODEL/params.safetensors    the parameters by name, `body_0/conv/kernel`

`read_weights` makes one of the published weights of another library. A folder is written whole or not at all.
"""

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restore_jax import __version__, zoo
from restore_jax.build import build, spec_of
from restore_jax.core import PyTree
from restore_jax.nets.ncnn_file import read_ncnn_file, recognise_ncnn
from restore_jax.nets.safetensors_file import read_safetensors, write_safetensors
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import Recognised, recognise

FORMAT = 1
UNKNOWN = "unknown"
FLOAT16 = np.finfo(np.float16)


class ModelError(ValueError):
    """A folder that is no model, or weights that no net here can take; the message says what to do."""


class LevelWanted(ModelError):
    """Weights of a net that is told the level of the noise, without one."""


@dataclass(frozen=True)
class Model:
    """A method with its parameters, and where they came from: plain data, as it stands in the files."""

    method: dict[str, Any]
    params: dict[str, Any]
    channels: int = 3
    provenance: dict[str, str] = field(default_factory=dict)
    task: str = ""  # what it mends, where it says so (`infer.task`)
    figures: dict[str, float] = field(default_factory=dict)  # what was measured of it, by protocol and metric
    degrade: dict[str, Any] = field(default_factory=dict)  # the damage that it was trained to undo, a spec
    curve: tuple[tuple[int, float], ...] = ()  # images seen and the loss over the row that ended there

    @property
    def architecture(self) -> str:
        """The net's name."""
        return self.method["net"]["name"]

    @property
    def scale(self) -> int:
        """The size of x over the size of y."""
        return self.method["scale"]

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(array.size for array in flat(self.params).values())


# ---------------------------------------------------------------------------------------------
# From published weights
# ---------------------------------------------------------------------------------------------


def read_weights(path: str | Path, sigma: float | None = None, licence: str = UNKNOWN, source: str = UNKNOWN) -> Model:
    """The model in a file of published weights: PyTorch's `.pth`, `.safetensors`, or ncnn's `.param` and `.bin`.

    The architecture is found by its tensors, each of which is read once. A net that listens to a noise level is to be
    told one, `sigma`, of pictures in [0, 1]: it is the level that the model removes.

    Raises:
        TorchFileError, SafetensorsError: the file cannot be read, or carries code.
        UnknownArchitecture: no net here has its tensors; the nearest are named, and what did not fit.
        LevelWanted: `sigma` is missing.
        ModelError: the tensors have other shapes than the net's, or `sigma` is idle.
    """
    path = Path(path)
    found = _recognised(path)
    net = build(found.net, "net")
    listens = bool(getattr(net, "embed", 0))
    if listens and sigma is None:
        raise LevelWanted(
            f"{path}: {found.net['name']} is told the level of the noise that it removes. Say it, as a standard "
            "deviation of pictures in [0, 1]: --sigma 25/255."
        )
    if sigma is not None and not listens:
        raise ModelError(f"{path}: {found.net['name']} does not listen to a noise level: leave out --sigma {sigma}.")
    provenance = {
        "file": path.name,
        "sha256": hashlib.sha256(_file_with_numbers(path).read_bytes()).hexdigest(),
        "source": source,
        "licence": licence,
        "restore_jax": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    return Model(_method(found.net, net.scale, sigma), found.params, _channels(path, net, found), provenance)


def _recognised(path: Path) -> Recognised:
    if path.suffix == ".safetensors":
        return recognise(read_safetensors(path))
    if path.suffix in (".param", ".bin") and path.with_suffix(".param").exists():
        return recognise_ncnn(read_ncnn_file(path.with_suffix(".param")))
    return recognise(read_torch_file(path))


def _file_with_numbers(path: Path) -> Path:
    return path.with_suffix(".bin") if path.suffix == ".param" else path


def _method(net: dict[str, Any], scale: int, sigma: float | None) -> dict[str, Any]:
    once: dict[str, Any] = {"name": "diffusion.once.Once", "sigma": float(sigma or 0.0)}
    return {
        "name": "methods.regression.Regression",
        "net": net,
        "precondition": {"name": f"diffusion.precondition.{'Direct' if sigma is None else 'Plain'}"},
        "target": {"name": "targets.clean.Clean"},
        "metric": {"name": "metrics.pixel.Charbonnier"},
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"}
        if sigma is None
        else once,
        "scale": scale,
    }


def _channels(path: Path, net: Any, found: Recognised) -> int:
    """Of the pictures that the parameters are for: colour, or else grey."""
    have = {name: array.shape for name, array in flat(found.params).items()}
    wanted = {}
    for channels in (3, 1):
        try:
            wanted[channels] = _shapes(net, channels)
        except (TypeError, ValueError):  # a net for colour alone, or for grey alone
            continue
        if have == wanted[channels]:
            return channels
    want = next(iter(wanted.values()), {})
    differ = [
        f"{name} is {have.get(name, 'missing')} and should be {want.get(name, 'absent')}"
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    raise ModelError(
        f"{path}: read as {found.net['name']}, its tensors are not those of this net on pictures of 3 channels or 1: "
        f"{'; '.join(differ[:3])}{f'; and {len(differ) - 3} more' if len(differ) > 3 else ''}."
    )


def _shapes(net: Any, channels: int) -> dict[str, tuple[int, ...]]:
    inputs = [jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32)]
    if getattr(net, "embed", 0):
        inputs.append(jax.ShapeDtypeStruct((1,), jnp.float32))
    tree = jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]
    return {name: leaf.shape for name, leaf in flat(tree).items()}


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------


def is_model(folder: str | Path) -> bool:
    """Whether a folder says that it holds a model."""
    return (Path(folder) / "model.json").is_file()


def located(path: str | Path) -> Path:
    """The folder that is meant: the one at `path`, or else the shipped model of that name."""
    shipped = zoo.FOLDER / str(path)
    return shipped if not Path(path).exists() and str(path) in zoo.names() else Path(path)


def write_model(folder: str | Path, model: Model, half: bool = False) -> Path:
    """Writes the folder, whole or not at all; with `half` in half the bytes, each number rounded to float16.

    That changes weights by 5e-4 of themselves at most, and pictures by less than a grey level.

    Raises:
        ModelError: something is there already, or a number is too large for float16.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} exists already: give another folder, or remove it.")
    leaves = {name: np.asarray(leaf) for name, leaf in flat(model.params).items()}
    if half:
        loud = [name for name, leaf in leaves.items() if not np.max(np.abs(leaf), initial=0) <= FLOAT16.max]
        if loud:
            raise ModelError(f"{folder}: {loud[0]} has numbers above {FLOAT16.max:g}: write it in full.")
        leaves = {name: leaf.astype(FLOAT16.dtype) for name, leaf in leaves.items()}
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        write_safetensors(partial / "params.safetensors", leaves)
        card = {
            "format": FORMAT,
            "architecture": model.architecture,
            "parameters": model.parameters,
            "scale": model.scale,
            "channels": model.channels,
            **({"task": model.task} if model.task else {}),
            **({"figures": model.figures} if model.figures else {}),
            **({"degrade": spec_of(build(model.degrade, "degrade"))} if model.degrade else {}),
            **({"curve": model.curve} if model.curve else {}),
            "method": spec_of(build(model.method, "method")),
            "provenance": model.provenance,
            "params_sha256": hashlib.sha256((partial / "params.safetensors").read_bytes()).hexdigest(),
        }
        (partial / "model.json").write_text(json.dumps(card, indent=1) + "\n")
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def note_figures(folder: str | Path, figures: Mapping[str, float]) -> None:
    """Writes what was measured of a model into its card, in place of what stood there; whole or not at all."""
    card = Path(folder) / "model.json"
    said = {**json.loads(card.read_text()), "figures": dict(figures)}
    partial = card.with_name(f".{card.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(said, indent=1) + "\n")
    partial.replace(card)


def read_model(folder: str | Path) -> Model:
    """The model in a folder, its numbers held to the hash of them; those of float16 are read as float32.

    Raises:
        ModelError: none is there, it is damaged, or a later version wrote it.
    """
    folder = Path(folder)
    if not is_model(folder):
        raise ModelError(f"{folder} holds no model.json: give a folder that `restore-jax import` or `pack` wrote.")
    try:
        card = json.loads((folder / "model.json").read_text())
        if card["format"] != FORMAT:
            raise ModelError(f"{folder} is of format {card['format']}; this version reads {FORMAT}. Import it again.")
        content = (folder / "params.safetensors").read_bytes()
        method, channels, provenance, expected = (
            card[name] for name in ("method", "channels", "provenance", "params_sha256")
        )
    except (KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{folder} is damaged ({type(error).__name__}: {error}). Import it again.") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(f"{folder}/params.safetensors is not what model.json speaks of. Import it again.")
    leaves = read_safetensors(folder / "params.safetensors")
    params = nested({k: a.astype(np.float32) if a.dtype == FLOAT16.dtype else a for k, a in leaves.items()})
    curve = tuple((images, loss) for images, loss in card.get("curve", ()))
    said = card.get("task", ""), card.get("figures", {}), card.get("degrade", {}), curve
    return Model(method, params, channels, provenance, *said)


def flat(tree: PyTree, path: str = "") -> dict[str, Any]:
    """The leaves of a nested dict by their paths, `a/b/kernel`."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {k: v for name, inner in tree.items() for k, v in flat(inner, f"{path}/{name}" if path else name).items()}


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = leaf
    return tree
