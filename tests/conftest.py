"""What all tests share: strict broadcasting, shapes checked at run time, a key, the shared folder."""

import gc
import os
import sys
from pathlib import Path

# Where no bytecode may lie beside the sources, every process that a test starts would compile all of JAX's again,
# three seconds each: it lies in a folder of pytest's instead.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    sys.dont_write_bytecode = False

# Most of a test's time is LLVM's. Tests compile quickly and run slowly, here and in the processes they start;
# `make soak` runs them all again as users' programs are compiled.
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    # XLA's older emitters of fused loops compile in a third of the newer ones' time.
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", quick)

import jax
import jaxtyping
import pytest

# A trace makes objects by the hundred thousand, few of them in cycles.
gc.set_threshold(100_000, 20, 20)

# Arrays of different rank never broadcast by accident: `per_image` says it where it is meant.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Every `Float[Array, "*b h w c"]` in a signature or a dataclass is checked in tests, and only there.
jaxtyping.install_import_hook("restore_jax", "beartype.beartype")


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection looks at it again."""
    gc.freeze()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs and peers' weights beside the repository, where there is one."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    return folder


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One example of a class for `make test`, all for `make soak`; and who runs beside whom.

    One process runs a file (`--dist loadgroup`), or all laws of one spec: what they compiled, they share. The laws come
    last: their groups are small, so that the processes finish together.
    """

    def spec(item: pytest.Item) -> object:
        return item.callspec.params.get("spec") if hasattr(item, "callspec") else None

    def named(item: pytest.Item) -> str:
        given = spec(item)
        return given["name"] if isinstance(given, dict) and "name" in given else str(given)

    items.sort(key=lambda item: spec(item) is not None)
    first: dict[tuple[object, ...], object] = {}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(f"{item.path}:{spec(item)}"))
        if spec(item) is not None and first.setdefault((item.function, named(item)), spec(item)) != spec(item):
            item.add_marker(pytest.mark.soak)
