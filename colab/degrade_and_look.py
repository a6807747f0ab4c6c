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
# # Degrade a photograph, and look
#
# What harms a picture is a spec: a dict that names a class and its numbers. Change a number, run the cell, look.
# Nothing is downloaded beyond the packages.

# %%
# In Colab: !pip install -q "restore-jax @ git+https://github.com/restore-jax/restore_jax"
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from restore_jax.build import build
from restore_jax.core import pinv
from restore_jax.data.sets.embedded import Embedded
from restore_jax.evaluate.figure import panels
from restore_jax.metrics.psnr import Psnr

SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy
side = 64 if SMOKE else 256
x = np.asarray(Embedded("heldout")[1])[:side, 128 : 128 + side].astype(np.float32) / 255


def look(**pictures):
    plt.figure(figsize=(12, 4 * -(-len(pictures) // 3)))
    plt.imshow(panels({name: np.clip(picture, 0, 1) for name, picture in pictures.items()}))
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## One at a time
# `build` makes a function `(key, x) -> Observation`; the same key harms in the same way.

# %%
specs = {
    "blur": {"name": "degrade.blur.GaussianBlur", "std": 2.0},
    "a quarter of the size": {"name": "degrade.downsample.Downsample", "scale": 4},
    "noise of 25/255": {"name": "degrade.noise.Gaussian", "std": 25 / 255},
    "JPEG at quality 10": {"name": "degrade.compress.Jpeg", "quality": 10.0},
}
key = jax.random.key(0)
look(x=x, **{name: np.asarray(build(spec)(key, x).y) for name, spec in specs.items()})

# %% [markdown]
# ## In a row
# A range is drawn anew for each key: this is how training sees a different harm in every picture.

# %%
chain = build(
    {
        "name": "degrade.chain.Chain",
        "steps": (
            {"name": "degrade.blur.GaussianBlur", "std": (0.2, 2.0)},
            {"name": "degrade.downsample.Downsample", "scale": 2},
            {"name": "degrade.noise.Gaussian", "std": (0.0, 0.1)},
        ),
    }
)
look(**{f"key {k}": np.asarray(chain(jax.random.key(k), x).y) for k in range(3)})

# %% [markdown]
# ## What is lost, and what is not
# A linear harm is an operator with an exact transpose. Its pseudo-inverse finds all that the observation still says:
# what it leaves out has to be imagined, by a trained restorer.

# %%
obs = build(specs["a quarter of the size"])(key, x)
x_hat = np.asarray(pinv(obs.operator, obs.y))
look(y=np.asarray(obs.y), pseudo_inverse=x_hat, x=x)
print(f"PSNR {float(Psnr()(np.clip(x_hat, 0, 1), x)):.2f} dB")
