"""Do the laws of degradations notice a bug? Ten and more are planted, one at a time.

    python -m tests.mutants.degrade            about ten minutes on two cores

Each mutant is one changed line in a copy of the repository; the laws of the members that it touches run there,
after they have passed unchanged. The last line printed is JSON: how many were planted and how many caught.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).parents[2]


class Mutant(NamedTuple):
    """A bug: in `file`, `line` becomes `bug`; the laws are run for the examples called `member`."""

    file: str
    line: str
    bug: str
    member: str


_CUT = (
    "inverse = jnp.where(denominator > rounding, 1.0 / jnp.maximum(denominator, rounding), 0.0)\n        return filter"
)
_WHITE = (
    "Gaussian(std and not Poisson and not Blur and not isotropic and not Generalised "
    "and not Chain and not wise and not Video"
)
_OTHER_KEY = "jax.random.bernoulli(jax.random.key(__import__('time').time_ns() % 10**6),"

MUTANTS = (
    Mutant("linear.py", "(y, self.rows.T, self.cols.T)", "(y, self.rows.T, 0.99 * self.cols.T)", "Downsample(scale=2"),
    Mutant("linear.py", "(y, jnp.conj(self._otf()))", "(y, self._otf())", "HandShake"),
    Mutant("linear.py", "power = jnp.abs(self._otf()) ** 2", "power = jnp.abs(self._otf())", "AnisotropicGaussian"),
    Mutant("linear.py", _CUT, "inverse = 1.0 / (power + 2 * reg)\n        return filter", "Defocus"),
    Mutant("mask.py", "= self.mask**2 + reg", "= self.mask**2 + 2 * reg", "RandomPixels and not Video and not Chain"),
    Mutant("channel.py", "where(a + reg > rounding, 1.0", "where(a > rounding, 1.01", "Greyscale"),
    Mutant("warp.py", "splat(y, self.grid, self.in_shape[0], self.in_shape[1],", "sample(y, self.grid,", "Affine"),
    Mutant("fourier.py", "possible * _inverse(0.5 * square + reg)", "possible * _inverse(square + reg)", "FourierMask"),
    Mutant("raw.py", "return unmosaic(y, self.pattern)", 'return unmosaic(y, "bggr")', "Mosaic"),
    Mutant("noise.py", "y=x + std * noise, op", "y=x + std**2 * noise, op", _WHITE),
    Mutant("mask.py", "jax.random.bernoulli(key_mask,", _OTHER_KEY, "RandomPixels and not Video and not Chain"),
    Mutant("burst.py", "* self.gain.reshape(-1, 1, 1, 1)", "* self.gain.reshape(-1, 1, 1, 1) + 1e-3", "Burst"),
    Mutant("video.py", "a.adjoint(y), y)", "a.adjoint(y), y[::-1])", "Video and redrawn"),
    Mutant(
        "compress.py",
        "y=jpeg(x, draw(key, self.quality), self.subsampling, self.rounding)",
        "y=x.round() + 0 * draw(key, self.quality).astype(x.dtype)",
        "Jpeg and not Double",
    ),
)


def laws_fail(mutant: Mutant, planted: bool) -> bool:
    """Runs the member's laws, with the bug or without."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("restore_jax", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if planted:
            path = copy / "restore_jax" / "degrade" / mutant.file
            text = path.read_text()
            if text.count(mutant.line) != 1:
                raise SystemExit(f"{mutant.file} has {mutant.line!r} {text.count(mutant.line)} times: mend the mutant.")
            path.write_text(text.replace(mutant.line, mutant.bug))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", selection(mutant.member)]
        done = subprocess.run([*command, "tests/degrade/test_laws.py"], cwd=copy, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was selected, or it did not start
        raise SystemExit(f"The laws of {mutant.member} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def selection(member: str) -> str:
    """pytest's -k takes words; brackets and signs are not words."""
    return member.replace("(", " and ").replace("=", " and ")


def caught(mutant: Mutant) -> bool:
    """The laws hold without the bug, and fail with it."""
    if laws_fail(mutant, planted=False):
        raise SystemExit(f"The laws of {mutant.member} fail without any bug; mend that first.")
    return laws_fail(mutant, planted=True)


def main() -> None:
    """Plants all, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        results = list(tqdm(pool.map(caught, MUTANTS), total=len(MUTANTS), desc="mutants", unit="bug"))
    for mutant, found in zip(MUTANTS, results):
        print(f"{'caught' if found else 'MISSED'}  {mutant.file}: {mutant.bug.splitlines()[0]}", file=sys.stderr)
    print(json.dumps({"planted": len(MUTANTS), "caught": sum(results)}))


if __name__ == "__main__":
    main()
