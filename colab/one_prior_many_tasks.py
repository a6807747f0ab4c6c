# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One prior, many tasks
#
# A network that has only learned what photographs look like restores what it never saw harmed: a posterior sampler
# makes its samples agree with the observation. The prior is trained here on thirteen photographs, for some minutes.

# %%
# In Colab: !pip install -q "restore-jax @ git+https://github.com/restore-jax/restore_jax"
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from restore_jax.build import build
from restore_jax.core import pinv
from restore_jax.cpu import run_in_order
from restore_jax.data.sets.embedded import Embedded
from restore_jax.evaluate.figure import panels
from restore_jax.infer.load import load
from restore_jax.methods.zero_shot import ZeroShot
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.loop import train

run_in_order()  # on a CPU, before the first computation
SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy
FOLDER = "outputs/prior-smoke" if SMOKE else "outputs/prior"

# %% [markdown]
# ## The prior
# It learns to denoise at all levels, and is shown nothing but the noisy picture.

# %%
schedule = {"name": "diffusion.schedule.Karras", "sigma_min": 0.005, "sigma_max": 5.0}
steps = 2 if SMOKE else 25
config = {
    "train_set": {"name": "data.sets.embedded.Embedded", "split": "train"},
    "degrade": {"name": "degrade.noise.Gaussian", "std": 0.0},
    "method": {
        "name": "methods.regression.Regression",
        "net": {"name": "nets.unet.UNet", "width": 8 if SMOKE else 48, "multipliers": (1, 2), "blocks": 1, "patch": 2},
        "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.25, "around": "grey", "sees": ()},
        "target": {
            "name": "targets.denoise.Denoise",
            "levels": {"name": "diffusion.schedule.LogNormal", "mean": -1.9, "std": 1.5},
            "sigma_data": 0.25,
        },
        "metric": {"name": "metrics.pixel.Mse"},
        "sampler": {
            "name": "diffusion.sampler.Ode",
            "step": {"name": "diffusion.solver.Heun"},
            "schedule": schedule,
            "n_steps": steps,
        },
    },
    "optim": {"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 800},
    "images": 32 if SMOKE else 16_000,
    "batch_size": 8,
    "crop_px": 32 if SMOKE else 64,
    "label": "prior",
}
train(config, FOLDER)  # interrupt it when you like: the same cell goes on
prior = load(FOLDER)

# %% [markdown]
# ## The tasks
# Each is a degradation with a linear operator; the noise is part of what the sampler knows.


# %%
def noisy(step, std):
    return {"name": "degrade.chain.Chain", "steps": (step, {"name": "degrade.noise.Gaussian", "std": std})}


tasks = {
    "30 % of the pixels": {"name": "degrade.mask.RandomPixels", "keep": 0.3},
    "blur": noisy({"name": "degrade.blur.GaussianBlur", "std": 1.5}, 0.02),
    "a quarter of the size": noisy({"name": "degrade.downsample.Downsample", "scale": 4, "kernel": "box"}, 0.01),
    "Bayer mosaic": noisy({"name": "degrade.raw.Mosaic"}, 0.03),
}
sampler = {
    "name": "diffusion.sampler.Ode",
    "step": {"name": "diffusion.posterior.ddrm.Ddrm"},
    "schedule": schedule,
    "n_steps": steps,
}

# %% [markdown]
# ## The same prior behind each
# Beside it stands the pseudo-inverse: what the observation says without a prior.

# %%
side = 32 if SMOKE else 96
x = np.asarray(Embedded("heldout")[1])[96 : 96 + side, 300 : 300 + side].astype(np.float32) / 255
restore = jax.jit(ZeroShot(prior.method, prior.params, build(sampler)))
pictures, said = {"x": x}, []
for name, spec in tasks.items():
    obs = build(spec)(jax.random.key(0), x)
    for how, x_hat in {
        "without a prior": pinv(obs.operator, obs.y),
        "with it": restore(jax.random.key(1), obs),
    }.items():
        pictures[f"{name}, {how}"] = np.clip(np.asarray(x_hat), 0, 1)
        said.append(f"{name}, {how}: PSNR {float(Psnr()(pictures[f'{name}, {how}'], x)):.2f} dB")
plt.figure(figsize=(16, 8))
plt.imshow(panels(pictures))
plt.axis("off")
plt.show()
print("\n".join(said))
