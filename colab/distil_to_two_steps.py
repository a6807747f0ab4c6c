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
# # Distil a diffusion model to two steps
#
# A diffusion model asks its network many times for one picture. Easy consistency tuning goes on from its weights until
# two questions are enough. Both are trained here for a few minutes on thirteen photographs.

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
from restore_jax.metrics.psnr import Psnr
from restore_jax.train.loop import train

SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy
FOLDER = "outputs/distil-smoke" if SMOKE else "outputs/distil"

# %% [markdown]
# ## The teacher
# It learns to denoise at all levels, given the blurred, halved, noisy picture.

# %%
degrade = {
    "name": "degrade.chain.Chain",
    "steps": (
        {"name": "degrade.blur.GaussianBlur", "std": 1.0},
        {"name": "degrade.downsample.Downsample", "scale": 2},
        {"name": "degrade.noise.Gaussian", "std": 25 / 255},
    ),
}
levels = {"name": "diffusion.schedule.LogNormal", "mean": -2.3, "std": 1.2}
method = {
    "name": "methods.regression.Regression",
    "scale": 2,
    "net": {"name": "nets.unet.UNet", "width": 8 if SMOKE else 48, "multipliers": (1, 2), "blocks": 1, "embed": 32},
    "precondition": {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    "target": {"name": "targets.denoise.Denoise", "levels": levels, "sigma_data": 0.1},
    "metric": {"name": "metrics.pixel.Mse"},
    "sampler": {
        "name": "diffusion.sampler.Ode",
        "step": {"name": "diffusion.solver.Heun"},
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 1.0},
        "n_steps": 2 if SMOKE else 9,
        "start": "image",
    },
}
config = {
    "train_set": {"name": "data.sets.embedded.Embedded", "split": "train"},
    "degrade": degrade,
    "method": method,
    "optim": {"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 100},
    "images": 32 if SMOKE else 8_000,
    "batch_size": 8 if SMOKE else 16,
    "crop_px": 32 if SMOKE else 64,
    "label": "teacher",
}
train(config, f"{FOLDER}/teacher")  # interrupt it when you like: the same cell goes on

# %% [markdown]
# ## The student
# The same method with another target: what the network said at the next lower level, from the same noise.

# %%
ect = {
    "target": {
        "name": "targets.ect.Ect",
        "levels": levels | {"mean": -1.2},
        "b": 5.0,
        "stage_steps": 100,
        "max_stage": 3,
    },
    "metric": {"name": "metrics.pixel.PseudoHuber", "c": 0.01},
    "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (1.0, 0.1), "start": "image"},
}
tuned = {"optim": {"name": "train.optim.AdamW", "rate": 3e-4, "warmup_images": 400}, "label": "student"}
student = {**config, **tuned, "method": method | ect, "start": f"{FOLDER}/teacher", "images": 32 if SMOKE else 5_000}
train(student, f"{FOLDER}/student")

# %% [markdown]
# ## Side by side

# %%
side = 32 if SMOKE else 192
x = np.asarray(Embedded("heldout")[1])[:side, 128 : 128 + side].astype(np.float32) / 255
y = build(degrade)(jax.random.key(0), x).y
pictures, said = {"y": np.asarray(y)}, []
for name in ("teacher", "student"):
    restore = load(f"{FOLDER}/{name}")
    x_hat = np.clip(np.asarray(restore(jax.random.key(0), Observation(y=y[None]))[0]), 0, 1)
    pictures[f"{name}, {restore.nfe} evaluations"] = x_hat
    said.append(f"{name}: PSNR {float(Psnr()(x_hat, x)):.2f} dB")
figure, axes = plt.subplots(1, 4, figsize=(16, 4))
for axis, (name, picture) in zip(axes, {**pictures, "x": x}.items()):
    axis.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    axis.set_title(name)
    axis.axis("off")
plt.show()
print("\n".join(said))
