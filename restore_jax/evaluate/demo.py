"""What models do to a photograph that they have not seen: each mends the damage that it was trained for.

shown = [demonstrate(name, x) for name in zoo.names()]
write("demo.png", sheet(shown, x))

A prior was trained for no damage: it paints the pixels of a photograph that are missing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from restore_jax.build import build
from restore_jax.core import Observation, Restorer
from restore_jax.diffusion.posterior.cm4ir import Cm4ir
from restore_jax.diffusion.posterior.ddrm import Ddrm
from restore_jax.diffusion.sampler import Consistency, Ode
from restore_jax.diffusion.schedule import Karras
from restore_jax.evaluate.figure import panels, visible
from restore_jax.infer.load import load
from restore_jax.methods.model import ModelError, located, read_model
from restore_jax.methods.regression import lift
from restore_jax.methods.zero_shot import ZeroShot
from restore_jax.metrics.psnr import Psnr

PRIOR = "prior"  # the task of a model that was trained for none
MISSING = {"name": "degrade.mask.RandomPixels", "keep": 0.3}
DDRM = Ode(Ddrm(eta=1.0), Karras(sigma_min=0.005, sigma_max=5.0), 25)  # of a diffusion prior
# Of a consistency function: missing pixels are made smooth first, and the levels begin below what it gets wrong.
CM4IR = Cm4ir((0.2, 0.1, 0.05, 0.02), zeta=1.0, smooth_px=(4.0,) * 4 + (2.0,) * 4 + (1.0,) * 4 + (0.7,) * 8)


@dataclass(frozen=True)
class Shown:
    """A model's answer to a damaged photograph, in dB before and after, and the seconds of a second call."""

    name: str
    y: Float[np.ndarray, "p q 3"]
    x_hat: Float[np.ndarray, "h w 3"]
    before_db: float
    after_db: float
    nfe: int
    seconds: float

    def __str__(self) -> str:
        plural = "" if self.nfe == 1 else "s"
        return (
            f"{self.name:<18} {self.before_db:6.2f} dB -> {self.after_db:6.2f} dB   "
            f"{self.nfe:>3} evaluation{plural:<1}   {self.seconds:6.2f} s"
        )


def demonstrate(name: str | Path, x: Float[np.ndarray, "h w 3"], seed: int = 1) -> Shown:
    """The model on x, damaged as its card says; PSNR beside that of y brought to the size of x.

    `seed` draws the damage; the default's is some of each kind (a blind denoiser may also be given next to no noise).

    Raises:
        ModelError: the folder holds no model, or one that does not say what it mends.
    """
    model = read_model(located(name))
    if model.task != PRIOR and not model.degrade:
        raise ModelError(f"{name} does not say what damage it mends: `restore-jax pack` writes models that do.")
    restorer: Restorer = zero_shot(load(name)) if model.task == PRIOR else load(name)
    key_damage, key = jax.random.split(jax.random.key(seed))
    obs = build(MISSING if model.task == PRIOR else model.degrade)(key_damage, jnp.asarray(x, jnp.float32))
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], obs)
    given = one if model.task == PRIOR else Observation(y=one.y)  # a restorer is given what a user has
    restore = jax.jit(lambda key, given: jnp.clip(restorer(key, given), 0.0, 1.0))
    jax.block_until_ready(restore(key, given))
    start = time.perf_counter()
    x_hat = np.asarray(restore(key, given))[0]
    seconds = time.perf_counter() - start
    lifted = lift(Observation(y=one.y), restorer.scale).cond["image"]
    before, after = (float(Psnr()(jnp.asarray(picture), jnp.asarray(x)[None])[0]) for picture in (lifted, x_hat[None]))
    label = Path(name).name
    return Shown(label, visible(obs.y), x_hat, before, after, restorer.nfe, seconds)


def zero_shot(prior: Any) -> ZeroShot:
    """A prior behind whatever operator an observation has: by CM4IR for a consistency function, by DDRM for others."""
    sampler: Any = CM4IR if isinstance(prior.sampler, Consistency) else DDRM
    return ZeroShot(prior.method, prior.params, sampler)


def sheet(shown: Sequence[Shown], x: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "p q 3"]:
    """A row a model: what it was given, what it made of it, and the photograph."""
    pictures: dict[str, np.ndarray] = {}
    for one in shown:
        pictures |= {
            f"{one.name}: given, {one.before_db:.2f} dB": one.y,
            f"{one.name}: {one.after_db:.2f} dB, {one.nfe} evaluation{'' if one.nfe == 1 else 's'}": one.x_hat,
            f"{one.name}: the photograph": x,
        }
    return panels(pictures)
