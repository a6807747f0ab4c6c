"""Specs to objects and back. A spec is a dict that says *what*; `build` makes it.

    build({"name": "degrade.noise.Gaussian", "std": 25 / 255})

`name` is the module path under `restore_jax`, then the class (or function); a path that starts
elsewhere (`my_lab.nets.Mine`) is imported as it stands, so a new member is one new file and no
edit. The other keys are the fields; specs inside them, and inside their lists, are built too.
`spec_of` goes back, for logs and checkpoints: `spec_of(build(s))` builds the same object.
"""

import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

PACKAGE = "restore_jax"


class SpecError(ValueError):
    """A spec that cannot be built; the message says which part, why, and what was meant perhaps."""


def build(spec: Any, where: str = "spec") -> Any:
    """The object that `spec` describes; what is not a spec comes back as it is.

    Raises:
        SpecError: an unknown name, an unknown or missing field, a value of the wrong type.
    """
    if isinstance(spec, Mapping) or hasattr(spec, "to_dict"):  # dict or ml_collections.ConfigDict
        fields = {k: build(v, f"{where}.{k}") for k, v in spec.items() if k != "name"}
        return _make(spec["name"], fields, where) if "name" in spec else fields
    if isinstance(spec, list | tuple):
        return tuple(build(item, f"{where}[{i}]") for i, item in enumerate(spec))
    return spec


def spec_of(thing: Any) -> Any:
    """The spec of a built object: plain dicts, tuples, numbers and strings."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        path = f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix(PACKAGE + ".")
        fields = {f.name: spec_of(getattr(thing, f.name)) for f in _own_fields(type(thing))}
        return {"name": path, **fields}
    if isinstance(thing, Mapping):
        return {k: spec_of(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return tuple(spec_of(item) for item in thing)
    if callable(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return thing


def examples(package: str = PACKAGE) -> list[dict[str, Any]]:
    """The specs in the `EXAMPLES` of every module under `package`: what a law-suite holds to its laws."""
    root = importlib.import_module(package)
    names = [info.name for info in pkgutil.walk_packages(root.__path__, f"{package}.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return [spec for module in modules for spec in getattr(module, "EXAMPLES", ())]


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """` Did you mean ...?`, or the whole list if nothing is near."""
    words = sorted(set(words))
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(repr(n) for n in near)}?"
    return f" There are: {', '.join(words)}." if words else ""


def _make(name: Any, fields: dict[str, Any], where: str) -> Any:
    maker = _find(name, where)
    parameters = _parameters(maker)
    for field, value in fields.items():
        if field not in parameters:
            raise SpecError(f"{where}: {name} has no field {field!r}.{did_you_mean(field, parameters)}")
        if not _fits(value, parameters[field].annotation):
            wanted = parameters[field].annotation
            wanted = getattr(wanted, "__name__", wanted) if isinstance(wanted, type) else wanted
            raise SpecError(f"{where}.{field}: {name} wants {wanted}, not {value!r} ({type(value).__name__}).")
    missing = [p for p, known in parameters.items() if known.default is known.empty and p not in fields]
    if missing:
        raise SpecError(f"{where}: {name} also needs {', '.join(missing)}.")
    return maker(**fields)


def _find(name: Any, where: str) -> Any:
    """The class or function that `name` names, ours first."""
    if not isinstance(name, str) or "." not in name:
        raise SpecError(
            f"{where}: a name reads like 'nets.unet.UNet', not {name!r}.{did_you_mean(str(name), _members())}"
        )
    module_path, _, attribute = name.rpartition(".")
    ours = f"{PACKAGE}.{module_path}"
    path = ours if _exists(ours) else module_path
    if not _exists(path):
        raise SpecError(f"{where}: there is no {name!r}.{did_you_mean(name, _members())}")
    module = importlib.import_module(path)
    if not hasattr(module, attribute):
        public = [f"{module_path}.{n}" for n, v in vars(module).items() if _is_member(v, path)]
        raise SpecError(f"{where}: {path} has no {attribute!r}.{did_you_mean(name, public)}")
    return getattr(module, attribute)


def _exists(path: str) -> bool:
    try:
        return not path.startswith(".") and importlib.util.find_spec(path) is not None
    except ValueError:  # `__main__` run as a script
        return False
    except ModuleNotFoundError as missing:  # a parent on the path; but what a parent itself imports must be there
        if missing.name is None or not path.startswith(missing.name):
            raise
        return False


def _members() -> list[str]:
    """Every name that a spec could say, found by walking the package's files."""
    package = importlib.import_module(PACKAGE)
    names = []
    for info in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        source = importlib.util.find_spec(info.name)
        if info.ispkg or info.name.startswith(f"{PACKAGE}.cli") or source is None or source.origin is None:
            continue
        with open(source.origin, encoding="utf-8") as lines:  # read, not imported: some files need an extra
            classes = [line[6:].split("(")[0].split(":")[0].strip() for line in lines if line.startswith("class ")]
        names += [f"{info.name.removeprefix(PACKAGE + '.')}.{c}" for c in classes if not c.startswith("_")]
    return names


def _is_member(value: Any, module: str) -> bool:
    made_here = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module
    return made_here and not value.__name__.startswith("_")


def _own_fields(cls: type) -> list[dataclasses.Field]:
    """The fields of a dataclass that a spec can set; linen's own `parent` and `name` are not."""
    return [f for f in dataclasses.fields(cls) if f.init and f.name not in ("parent", "name")]


def _parameters(maker: Any) -> dict[str, inspect.Parameter]:
    hints = typing.get_type_hints(maker) if isinstance(maker, type) else {}
    signature = inspect.signature(maker).parameters
    return {
        n: p.replace(annotation=hints.get(n, Any if p.annotation is p.empty else p.annotation))
        for n, p in signature.items()
        if n not in ("parent", "name") and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


def _fits(value: Any, wanted: Any) -> bool:
    """Whether `value` may stand where the plain types (numbers, strings, tuples, unions of them) are wanted.

    Anything else (protocols, arrays, modules) is left to the object itself.
    """
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(wanted))
    if origin is tuple:
        inner = typing.get_args(wanted)
        if not isinstance(value, tuple):
            return False
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(_fits(item, inner[0]) for item in value)
        return not inner or (len(inner) == len(value) and all(map(_fits, value, inner)))
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted in (str, bool, type(None)):
        return isinstance(value, wanted)
    return True
