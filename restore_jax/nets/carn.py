"""CARN-M: residual blocks of grouped convolutions whose answers cascade, within a block and between blocks.

    unit    relu(x + Conv1(relu(GroupConv3(relu(GroupConv3(x))))))
    block   o_0 = x, o_k = relu(Conv1([o_0, u_1, ..., u_k])),  u_k = unit(o_(k-1));  one unit for k = 1, 2, 3
    net     mean + Conv3(up(cascade of three blocks of Conv3(x - mean)))

Reference: Ahn et al. 2018, "Fast, accurate, and lightweight super-resolution with cascading residual network",
figures 2 and 3(d), section 3.3.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jaxtyping import Array, Float

from restore_jax.nets.conv import LANES, Conv, dense_conv
from restore_jax.nets.edsr import DIV2K_MEAN, steps_of, steps_reach
from restore_jax.nets.layers import PointwiseConv, depthwise_form, divisor, per_channel, pixel_shuffle
from restore_jax.nets.torch_weights import Unfit, Weights, shuffled

CASCADE = 3  # units a block, and blocks
SCALES = (2, 3, 4)


class GroupConv(nn.Module):
    """A 3x3 convolution in `groups` groups of channels that do not mix; of each, `shuffle` x `shuffle` pixels a place.

    As one dense convolution a group. Groups that make `LANES` channels or fewer a CPU takes together up to twice as
    many, with a kernel that is zero between groups: more products, of which half are left (`nets.winograd`), in full
    registers.
    """

    features: int
    groups: int
    shuffle: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W d"]:
        """`features / shuffle^2` channels, those of the first group first, `shuffle` times the size."""
        shape = (3, 3, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        wide = depthwise_form(x) == "shifts" and self.shuffle == 1
        together = divisor(self.groups, 2 * LANES * self.groups // self.features) if wide else 1
        same_group = np.kron(np.eye(together), np.ones((1, 1, shape[2], self.features // self.groups)))

        def bundle(x, kernel, bias):
            if together > 1:
                kernel = jnp.tile(kernel, (1, 1, together, 1)) * same_group.astype(kernel.dtype)
            out = dense_conv(x, kernel)
            return pixel_shuffle(out + per_channel(bias, out), self.shuffle)

        # Each part is finished before they are joined: joined first, all would be written twice.
        parts = zip(*(jnp.split(a, self.groups // together, -1) for a in (x, kernel, bias)))
        return jnp.concatenate([bundle(*part) for part in parts], -1)


class Unit(nn.Module):
    """`relu(x + Conv1(relu(GroupConv3(relu(GroupConv3(x))))))`.

    Reference: Ahn et al. 2018, figure 3(d), the efficient residual block.
    """

    groups: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        c, h = x.shape[-1], x
        for k in (1, 2):
            h = jax.nn.relu(GroupConv(c, self.groups, dtype=self.dtype, name=f"conv{k}")(h))
        return jax.nn.relu(x + PointwiseConv(c, dtype=self.dtype, name="conv3")(h))


class Block(nn.Module):
    """Three times the same unit, each followed by a 1x1 convolution of `x` and all units' answers.

    Reference: Ahn et al. 2018, figure 2(c) with the recursive sharing of section 3.3.
    """

    groups: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The block applied to `x`."""
        unit, h, found = Unit(self.groups, self.dtype, name="unit"), x, [x]
        for k in range(CASCADE):
            found.append(unit(h))
            h = PointwiseConv(x.shape[-1], dtype=self.dtype, name=f"join{k}")(jnp.concatenate(found, -1))
            h = jax.nn.relu(h)
        return h


class CARN(nn.Module):
    """CARN-M for one scale; `mean`, one number a colour, is taken off and put back (where x has as many colours).

    Raises:
        ValueError: `scale` is not 1, 2, 3, 4 or 8, or `groups` does not divide `width`.

    Reference: Ahn et al. 2018, section 3.3: width 64, 4 groups.
    """

    width: int = 64
    groups: int = 4
    scale: int = 4
    out_channels: int = 3
    mean: tuple[float, ...] = DIV2K_MEAN
    dtype: Any = None

    local = True

    @property
    def factor(self) -> int:
        """No downsampling: tiles start anywhere."""
        return self.scale

    @property
    def receptive_px(self) -> int:
        """Two convolutions a unit and the first at the size of x, one before each shuffle, one after the last."""
        return self.scale * (2 * CASCADE * CASCADE + 1) + steps_reach(self.scale, "CARN.scale") + 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b *n"] | None = None,
        cond: Float[Array, "b h w k"] | None = None,
    ) -> Float[Array, "b H W d"]:
        """`x` enlarged; `cond` is a further image of its size, given to the first convolution beside it."""
        if self.width % self.groups:
            raise ValueError(f"CARN.groups must divide width {self.width}, got {self.groups}.")
        dtype, steps = self.dtype, steps_of(self.scale, "CARN.scale")
        mean = np.asarray(self.mean, np.float32).reshape(1, 1, 1, -1)

        def known(channels):
            return jnp.asarray(mean if channels == len(self.mean) else np.zeros_like(mean[..., :1]), x.dtype)

        stem = x - known(x.shape[-1])
        stem = stem if cond is None else jnp.concatenate([stem, cond.astype(x.dtype)], -1)
        h = Conv(self.width, (3, 3), dtype=dtype, name="entry")(stem)
        found = [h]
        for k in range(CASCADE):
            found.append(Block(self.groups, dtype, name=f"block{k}")(h))
            h = jax.nn.relu(PointwiseConv(self.width, dtype=dtype, name=f"join{k}")(jnp.concatenate(found, -1)))
        for i, r in enumerate(steps):
            h = jax.nn.relu(GroupConv(self.width * r * r, self.groups, r, dtype, name=f"up{i}")(h))
        out = Conv(self.out_channels, (3, 3), dtype=dtype, name="exit")(h).astype(x.dtype)
        return out + known(self.out_channels)


def _from_torch(w: Weights) -> tuple[dict, dict]:
    """The authors' names; of a net for several scales the largest, and the ends for the others are passed over."""
    width, channels = w.shape("entry.weight")[:2]
    groups = width // w.shape("b1.b1.body.0.weight")[1]
    ends = {f"up{s}": s for s in SCALES if f"upsample.up{s}.body.0.weight" in w}
    for end, s in ends.items():
        if s != max(ends.values()):
            w.ignore(*(f"upsample.{end}.body.{i}.{part}" for i in (0, 3) for part in ("weight", "bias")))
    end = f"upsample.up{max(ends.values())}" if ends else "upsample.up"
    mean = -w.array("sub_mean.shifter.bias").reshape(-1)
    w.ignore("sub_mean.shifter.weight", "add_mean.shifter.weight", "add_mean.shifter.bias")
    params: dict[str, Any] = {"entry": w.conv("entry"), "exit": w.conv("exit")}
    scale = 1
    for i, name in enumerate(name for name in (f"{end}.body.0", f"{end}.body.3") if f"{name}.weight" in w):
        r = round((w.shape(f"{name}.weight")[0] / width) ** 0.5)
        scale *= r
        layer = w.conv(name)
        if layer["kernel"].shape[-1] % groups:
            raise Unfit(f"{name}.weight")
        parts = {key: np.split(a, groups, -1) for key, a in layer.items()}
        moved = [shuffled({key: a[g] for key, a in parts.items()}, r) for g in range(groups)]
        params[f"up{i}"] = {key: np.concatenate([part[key] for part in moved], -1) for key in layer}
    for k in range(CASCADE):
        block = f"b{k + 1}"
        unit = {f"conv{n + 1}": w.conv(f"{block}.b1.body.{2 * n}") for n in range(2)}
        joins = {f"join{n}": w.dense(f"{block}.c{n + 1}.body.0") for n in range(CASCADE)}
        params[f"block{k}"] = {"unit": unit | {"conv3": w.dense(f"{block}.b1.body.4")}} | joins
        params[f"join{k}"] = w.dense(f"c{k + 1}.body.0")
    spec = {"name": "nets.carn.CARN", "width": width, "groups": groups, "scale": scale, "out_channels": channels}
    return spec | {"mean": tuple(round(float(v), 6) for v in mean)}, params


TORCH = (_from_torch,)

EXAMPLES: tuple[dict, ...] = ({"name": "nets.carn.CARN", "width": 8, "groups": 2, "scale": 2},)
