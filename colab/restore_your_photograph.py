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
# # Restore your own photograph
#
# Set `PHOTOGRAPH` to a file of yours and `MODEL` to a shipped model's name, a training run, or weights that you
# imported (`restore-jax import net.pth -o MODEL`). Without them an embedded photograph is enlarged by a shipped model
# where the package has one, and else by cubic interpolation, which is what a model is to beat.

# %%
# In Colab: !pip install -q "restore-jax @ git+https://github.com/restore-jax/restore_jax"
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from restore_jax import zoo
from restore_jax.data.sets.embedded import Embedded
from restore_jax.infer.load import load
from restore_jax.infer.restoration import restore
from restore_jax.infer.tile import Tile
from restore_jax.methods.regression import Cubic
from restore_jax.metrics.psnr import Psnr
from restore_jax.ops.resize import resize
from restore_jax.photo.photo import open_photo, save_photo
from restore_jax.photo.read import read
from restore_jax.photo.write import write

SMOKE = bool(os.environ.get("RESTORE_JAX_SMOKE"))  # the tests run every cell on a toy
PHOTOGRAPH = ""  # in Colab: from google.colab import files; PHOTOGRAPH = next(iter(files.upload()))
MODEL = "sr2" if "sr2" in zoo.names() else ""

# %% [markdown]
# ## Before
# Without a file of yours, a held-out photograph at half its size.

# %%
if not PHOTOGRAPH:
    side = 64 if SMOKE else 256
    x = np.asarray(Embedded("heldout")[0])[:side, :side].astype(np.float32) / 255
    PHOTOGRAPH = "small.png"
    write(PHOTOGRAPH, np.clip(np.asarray(resize(x, side // 2, side // 2)), 0, 1))
plt.imshow(read(PHOTOGRAPH), interpolation="nearest")
plt.axis("off")
plt.show()

# %% [markdown]
# ## After
# The photograph keeps its colour profile, depth, alpha and metadata; tiles make any size fit.

# %%
tile = Tile(load(MODEL) if MODEL else Cubic(2))
save_photo("restored.png", restore(tile, open_photo(PHOTOGRAPH), jax.random.key(0)))
restored = read("restored.png")
plt.imshow(restored, interpolation="nearest")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Was it right?
# Of the embedded photograph the truth is known. Of your own it is not: look where the model may have invented.

# %%
if PHOTOGRAPH == "small.png":
    print(f"PSNR {float(Psnr()(restored.astype(np.float32) / 255, x)):.2f} dB with {MODEL or 'cubic interpolation'}")
