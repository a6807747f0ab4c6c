# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a small restorer, and restore a photograph with it
#
# A photograph was blurred, halved and made noisy. A diffusion model learns to undo it from thirteen other
# photographs, then restores this one tile by tile. Everything runs on a CPU in a few minutes; nothing is downloaded
# beyond the packages.

# %%
# In Colab: !pip install -q "restore-jax @ git+https://github.com/restore-jax/restore_jax"
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from restore_jax.build import build
from restore_jax.core import Observation
from restore_jax.data.sets.embedded import Embedded
from restore_jax.infer.load import load
from restore_jax.infer.tile import Tile
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.loop import train

SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy

# %% [markdown]
# ## What happens to a picture
# A degradation is a spec: a dict that names a class and its numbers. It gives back what a restorer is given, an
# `Observation` with the small noisy picture `y` and the linear operator that made it.

# %%
degrade_spec = {
    "name": "degrade.chain.Chain",
    "steps": (
        {"name": "degrade.blur.GaussianBlur", "std": 1.0},
        {"name": "degrade.downsample.Downsample", "scale": 2},
        {"name": "degrade.noise.Gaussian", "std": 25 / 255},
    ),
}
degrade = build(degrade_spec)
photographs = Embedded("heldout")
x = np.asarray(photographs[1])[:256, 128:384].astype(np.float32) / 255
obs = jax.jit(degrade)(jax.random.key(0), x)


def show(**pictures):
    figure, axes = plt.subplots(1, len(pictures), figsize=(4 * len(pictures), 4))
    for axis, (name, picture) in zip(axes, pictures.items()):
        axis.imshow(np.clip(picture, 0, 1), interpolation="nearest")
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    plt.show()


show(x=x, y=obs.y)

# %% [markdown]
# ## What is learned
# A denoiser for all noise levels, given `y`. The network sees the noise level and the observation; preconditioning
# and training target are those of EDM; the sampler takes 9 steps.

# %%
config = {
    "train_set": {"name": "data.sets.embedded.Embedded", "split": "train"},
    "heldout_set": {"name": "data.sets.embedded.Embedded", "split": "heldout"},
    "degrade": degrade_spec,
    "method": {
        "name": "methods.regression.Regression",
        "scale": 2,
        "net": {"name": "nets.unet.UNet", "width": 8 if SMOKE else 48, "multipliers": (1, 2), "blocks": 1, "embed": 32},
        "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
        "target": {
            "name": "targets.denoise.Denoise",
            "levels": {"name": "diffusion.schedule.LogNormal", "mean": -2.3, "std": 1.2},
            "sigma_data": 0.1,
        },
        "metric": {"name": "metrics.pixel.Mse"},
        "sampler": {
            "name": "diffusion.sampler.Ode",
            "step": {"name": "diffusion.solver.Heun"},
            "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 1.0},
            "n_steps": 2 if SMOKE else 9,
            "start": "image",
        },
    },
    "optim": {"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 100},
    "images": 32 if SMOKE else 8_000,
    "batch_size": 8 if SMOKE else 16,
    "crop_px": 32 if SMOKE else 64,
    "label": "notebook",
}
workdir = "outputs/notebook-smoke" if SMOKE else "outputs/notebook"
state = train(config, workdir)  # interrupt it when you like: the same cell goes on

# %% [markdown]
# ## The photograph, restored
# `load` gives the restorer that the run has learned; `Tile` makes it work on any size.

# %%
restore = Tile(load(workdir), tile_px=64, overlap_px=16)
x_hat = restore(jax.random.key(0), Observation(y=obs.y))
show(y=obs.y, x_hat=x_hat, x=x)
print(f"PSNR {float(Psnr()(np.clip(x_hat, 0, 1), x)):.2f} dB")
