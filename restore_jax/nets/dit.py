"""DiT: a plain transformer over the patches of a picture, told the noise level by its normalisations.

    tokens  Dense(patches) + sines and cosines of row and column
    block   x + g1 attention(m1(norm(x))),  x + g2 Dense(gelu(Dense(m2(norm(x)))))      m(x) = x (1 + scale) + shift
    net     patches(Dense(m(norm(x))))                        scale, shift, gate = Dense(silu(embedding)), zero at first

Reference: Peebles & Xie 2023, "Scalable Diffusion Models with Transformers", figure 3 (adaLN-Zero).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from restore_jax.nets.attention import FullAttention
from restore_jax.nets.condition import NoiseEmbedding
from restore_jax.nets.layers import PointwiseConv, layer_norm, pad_to_multiple, pixel_shuffle, pixel_unshuffle
from restore_jax.nets.torch_weights import Weights

TOKENS = 16  # about as far as places are told apart by their sharpest sines: what `receptive_px` names


def positions(h: int, w: int, c: int) -> Float[Array, "1 h w c"]:
    """`[sin(r f), cos(r f), sin(s f), cos(s f)]` of row r and column s, at `c / 4` frequencies f from 1 to 1e-4.

    Computed for any size, so that a picture of another size than those trained on has places of the same kind.

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.5, half of the channels an axis; Peebles &
    Xie 2023, section 3.2 (patchify).
    """
    frequencies = 10000.0 ** -(np.arange(c // 4) / (c // 4))

    def axis(n):
        angles = np.arange(n)[:, None] * frequencies[None]
        return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], -1), jnp.float32)

    rows = jnp.broadcast_to(axis(h).reshape(1, h, 1, c // 2), (1, h, w, c // 2))
    columns = jnp.broadcast_to(axis(w).reshape(1, 1, w, c // 2), (1, h, w, c // 2))
    return jnp.concatenate([rows, columns], -1)


class Modulation(nn.Module):
    """`parts` numbers a channel, `Dense(silu(embedding))`, zero at first; learned constants without an embedding."""

    parts: int
    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, embedding: Float[Array, "b e"] | None) -> list[Array]:
        """The parts, `[b 1 1 c]` each, or `[1 1 1 c]`."""
        zeros, n = nn.initializers.zeros, self.parts * self.features
        if embedding is None:
            out = self.param("bias", zeros, (n,)).reshape(1, 1, 1, n)
            out = out if self.dtype is None else out.astype(self.dtype)
        else:
            out = nn.Dense(n, kernel_init=zeros, dtype=self.dtype, name="dense")(jax.nn.silu(embedding))
            out = out.reshape(-1, 1, 1, n)
        return jnp.split(out, self.parts, axis=-1)


def modulated(x: Float[Array, "b h w c"], shift: Array, scale: Array) -> Float[Array, "b h w c"]:
    """`norm(x) (1 + scale) + shift`, the norm without parameters of its own."""
    c = x.shape[-1]
    return layer_norm(x, jnp.ones(c, x.dtype), jnp.zeros(c, x.dtype)) * (1 + scale) + shift


class DiTBlock(nn.Module):
    """One block: `(12 + 2 (mlp_ratio - 4)) c^2 + 2 h w c` multiply-adds a token; the identity at first.

    Reference: Peebles & Xie 2023, figure 3, "DiT Block with adaLN-Zero".
    """

    heads: int
    mlp_ratio: float = 4.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None) -> Float[Array, "b h w c"]:
        """Same shape."""
        c, dtype = x.shape[-1], self.dtype
        shift1, scale1, gate1, shift2, scale2, gate2 = Modulation(6, c, dtype, name="modulation")(embedding)
        x = x + gate1 * FullAttention(self.heads, dtype, name="attention")(modulated(x, shift1, scale1))
        y = PointwiseConv(int(c * self.mlp_ratio), dtype=dtype, name="wide")(modulated(x, shift2, scale2))
        return x + gate2 * PointwiseConv(c, dtype=dtype, name="narrow")(jax.nn.gelu(y, approximate=True))


class DiT(nn.Module):
    """`depth` blocks of `width` channels over `patch` x `patch` pixels a token, every token seeing every other.

    The last layer starts at zero, so a fresh net is zero: put it inside a preconditioning. With `embed > 0` it is told
    `c_noise`; with `embed == 0` it ignores it. Any height and width: the picture is padded to a multiple of `patch`,
    and cropped back; the cost a token grows with the picture, so cut large ones into tiles of the size trained on.
    `receptive_px` is nominal, as everything depends on everything. The defaults are DiT-S with 8 x 8 pixels a token.

    Raises:
        ValueError: a width that 4 does not divide, heads that do not divide it.

    Reference: Peebles & Xie 2023, "Scalable Diffusion Models with Transformers", table 1.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 8
    mlp_ratio: float = 4.0
    embed: int = 384
    out_channels: int = 3
    dtype: Any = None

    scale = 1
    local = False

    @property
    def factor(self) -> int:
        """Sides are padded to a multiple of this inside, and tiles should start on one."""
        return self.patch

    @property
    def receptive_px(self) -> int:
        """A nominal number, some tokens: how much of a tile's border to give away."""
        return TOKENS * self.patch

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """The raw answer, at the size of `x`; `cond` is a further picture, given to the stem beside `x`."""
        dtype = self.dtype
        if self.width < 4 or self.width % 4:
            raise ValueError(f"DiT.width is a multiple of 4 (sine and cosine, row and column), got {self.width}.")
        if self.embed and c_noise is None:
            raise ValueError(f"DiT has embed={self.embed} and must be told c_noise; embed=0 makes it ignore it.")
        embedding = None
        if self.embed and c_noise is not None:
            embedding = NoiseEmbedding(self.embed, dtype=dtype, name="noise")(c_noise)
        stem = x if cond is None else jnp.concatenate([x, cond.astype(x.dtype)], -1)
        stem, (height, width) = pad_to_multiple(stem, self.patch)
        h = PointwiseConv(self.width, dtype=dtype, name="stem")(pixel_unshuffle(stem, self.patch))
        h = h + positions(h.shape[1], h.shape[2], self.width).astype(h.dtype)
        for i in range(self.depth):
            h = DiTBlock(self.heads, self.mlp_ratio, dtype, name=f"block_{i}")(h, embedding)
        h = modulated(h, *Modulation(2, self.width, dtype, name="modulation")(embedding))
        head = PointwiseConv(
            self.patch**2 * self.out_channels, kernel_init=nn.initializers.zeros, dtype=dtype, name="head"
        )
        return pixel_shuffle(head(h), self.patch)[:, :height, :width].astype(x.dtype)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names, without classes: `x_embedder.proj`, `t_embedder`, `blocks.N`, `final_layer`; and `heads`,
    one number each, as no shape says how many there are."""
    heads, hidden = w.shape("heads")[0], w.shape("blocks.0.mlp.fc1.weight")[0]
    width, _, patch, _ = w.shape("x_embedder.proj.weight")
    depth = w.count("blocks.{}.mlp.fc1.weight")
    listens = "t_embedder.0.weight" in w
    w.ignore("heads")
    spec = {
        "name": "nets.dit.DiT",
        "width": width,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "mlp_ratio": hidden / width,
        "embed": w.shape("t_embedder.0.weight")[0] if listens else 0,
        "out_channels": w.shape("final_layer.linear.weight")[0] // patch**2,
    }

    def modulation(name: str) -> dict:
        dense = f"{name}.adaLN_modulation.1"
        return {"dense": w.dense(dense)} if listens else {"bias": w.array(f"{dense}.bias").reshape(-1)}

    stem = w.conv("x_embedder.proj")
    params: dict = {"stem": stem | {"kernel": stem["kernel"].reshape(-1, width)}, "head": w.dense("final_layer.linear")}
    params["modulation"] = modulation("final_layer")
    params |= {"noise": {f"Dense_{n}": w.dense(f"t_embedder.{2 * n}") for n in (0, 1)}} if listens else {}
    for i in range(depth):
        name = f"blocks.{i}"
        params[f"block_{i}"] = {
            "modulation": modulation(name),
            "attention": {"qkv": w.dense(f"{name}.attn.qkv"), "out": w.dense(f"{name}.attn.proj")},
            "wide": w.dense(f"{name}.mlp.fc1"),
            "narrow": w.dense(f"{name}.mlp.fc2"),
        }
    return spec, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = (
    {"name": "nets.dit.DiT", "width": 16, "depth": 1, "heads": 2, "patch": 2, "mlp_ratio": 2.0, "embed": 16},
)
