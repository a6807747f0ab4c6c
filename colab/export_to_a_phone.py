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
# # From a network to a phone's file
#
# A small super-resolution net is trained for a few minutes, or a shipped one is taken where the package has it. It
# leaves as a TFLite file, which runs here as it would on a phone, beside JAX.

# %%
# In Colab: !pip install -q "restore-jax[export] @ git+https://github.com/restore-jax/restore_jax"
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from restore_jax import zoo
from restore_jax.core import Observation
from restore_jax.data.sets.embedded import Embedded
from restore_jax.export.exporter import Recipe, export
from restore_jax.export.tflite import TFLiteModel
from restore_jax.infer.load import load
from restore_jax.metrics.psnr import Psnr
from restore_jax.ops.resize import resize
from restore_jax.train.loop import train

SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy

# %% [markdown]
# ## A network

# %%
config = {
    "train_set": {"name": "data.sets.embedded.Embedded", "split": "train"},
    "degrade": {"name": "degrade.downsample.Downsample", "scale": 2},
    "method": {
        "name": "methods.regression.Regression",
        "scale": 2,
        "net": {"name": "nets.ecbsr.ECBSR", "width": 8 if SMOKE else 16, "blocks": 1 if SMOKE else 4, "scale": 2},
        "precondition": {"name": "diffusion.precondition.Direct"},
        "target": {"name": "targets.clean.Clean"},
        "metric": {"name": "metrics.pixel.Charbonnier"},
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (0.0,), "start": "image"},
    },
    "optim": {"name": "train.optim.AdamW", "rate": 1e-3, "warmup_images": 100},
    "images": 32 if SMOKE else 8_000,
    "batch_size": 8 if SMOKE else 16,
    "crop_px": 32 if SMOKE else 64,
    "label": "phone",
}
MODEL = "sr2" if "sr2" in zoo.names() and not SMOKE else "outputs/phone"
if MODEL == "outputs/phone":
    train(config, MODEL)  # interrupt it when you like: the same cell goes on
restore = load(MODEL)

# %% [markdown]
# ## A file
# `check` runs the file beside JAX on photographs and extremes, and says whether it computes the same.

# %%
side = 32 if SMOKE else 128
written = export(restore, Recipe("tflite", ((side, side),)), "phone.tflite")
print(f"{written.bytes} bytes; agrees with JAX: {all(row['agrees'] for row in written.check())}")

# %% [markdown]
# ## What the phone would answer

# %%
x = np.asarray(Embedded("heldout")[0])[: 2 * side, : 2 * side].astype(np.float32) / 255
y = np.asarray(resize(x, side, side))
x_hat = np.asarray(TFLiteModel("phone.tflite")(y=y[None]))[0]
figure, axes = plt.subplots(1, 3, figsize=(12, 4))
for axis, (name, picture) in zip(axes, {"y": y, "the file's x_hat": x_hat, "x": x}.items()):
    axis.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    axis.set_title(name)
    axis.axis("off")
plt.show()
by_jax = np.asarray(restore(jax.random.key(0), Observation(y=y[None])))[0]
print(f"from JAX {np.abs(x_hat - by_jax).max():.1e} at most")
print(f"PSNR {float(Psnr()(np.clip(x_hat, 0, 1), x)):.2f} dB")
