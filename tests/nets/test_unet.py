"""What is the U-Net's own; what it shares with other nets is in test_laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.nets.layers import depthwise_as
from restore_jax.nets.unet import ResBlock, UNet

SMALL = {"width": 4, "blocks": 1, "embed": 0}


def test_a_fresh_net_says_nothing_and_a_fresh_block_is_the_identity(key):
    x, embedding = jax.random.normal(key, (1, 6, 6, 3)), jnp.ones((1, 5))
    out, _ = jax.jit(UNet(**SMALL, multipliers=(1,)).init_with_output)(key, x)
    np.testing.assert_array_equal(out, jnp.zeros_like(x))
    out, _ = jax.jit(ResBlock().init_with_output)(key, x, embedding)
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"multipliers": (1,), "patch": 1}, 1),
        ({"multipliers": (1, 2), "patch": 2}, 4),
        ({"multipliers": (1, 1, 2), "patch": 3}, 12),
    ],
)
def test_factor_is_the_side_of_the_coarsest_cell(key, fields, factor):
    """The picture is padded to whole cells inside: 2 x 2 extra pixels, or factor - 1, change no parameter shape."""
    net = UNet(**SMALL, **fields)
    assert net.factor == factor
    for side in (1, factor, factor + 1):
        x = jnp.zeros((1, side, 2 * side, 3))
        assert jax.eval_shape(lambda x: net.init_with_output(key, x)[0], x).shape == x.shape


def test_receptive_px_of_the_least_net_by_hand():
    """One level, one block, no folding: four 3x3 convolutions in a row reach 4 pixels."""
    assert UNet(multipliers=(1,), blocks=1, patch=1).receptive_px == 4
    # Two levels: 2 ends and 4 block convolutions reach 6, 2 on cells of two reach 4, and the cell itself 1.
    assert UNet(multipliers=(1, 2), blocks=1, patch=1).receptive_px == 11


def test_out_channels_and_condition_channels_are_free(key):
    x, cond = jnp.zeros((2, 5, 4, 3)), jnp.zeros((2, 5, 4, 7))
    out, params = jax.eval_shape(lambda: UNet(**SMALL, out_channels=1).init_with_output(key, x, None, cond))
    assert out.shape == (2, 5, 4, 1)
    assert params["params"]["stem"]["kernel"].shape == (3, 3, 4 * (3 + 7), 4)


def test_embed_zero_has_no_level_in_it(key):
    x, c_noise = jnp.zeros((2, 4, 4, 3)), jnp.zeros(2)

    def names(embed):
        tree = jax.eval_shape(UNet(width=4, blocks=1, embed=embed).init, key, x, c_noise)
        return {part for path, _ in jax.tree_util.tree_leaves_with_path(tree) for part in (p.key for p in path)}

    assert names(8) - names(0) >= {"noise", "film"}
    assert not names(0) & {"noise", "film"}


def test_the_cost_is_what_the_docstring_says(key):
    """Multiply-adds a pixel, counted by the compiler, for a width at which the 3x3 convolutions are most of it."""
    net = UNet(width=32, multipliers=(1, 2), blocks=2, patch=2, embed=0)
    x = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(net.init, key, x)
    with depthwise_as("conv"):  # on a CPU half of the products are sums, which the docstring does not count
        counted = jax.jit(net.apply).lower(params, x).cost_analysis()["flops"] / 2 / 32**2
    blocks = [2 * 2 * 2 * 9 * 32**2 / 4, 2 * 2 * 9 * 64**2 / 16]  # level 0 twice, 2 blocks of 2 convolutions
    # The rest: the ends (9 (12 + 12) 32 / 4), and three 1x1 (a few c^2 / 4), and 7 % missing at the zero borders.
    assert 0.85 < counted / sum(blocks) < 1.25


def test_refinement_starts_as_nothing_and_then_sees_both_what_came_in_and_what_comes_out(key):
    """A net's parameters serve the refined one, and change nothing; with the last kernel moved both matter."""
    plain, refined = (UNet(**SMALL, multipliers=(1,), patch=4, refine=n) for n in (0, 6))
    x = jax.random.normal(key, (1, 8, 8, 3))
    params = jax.jit(plain.init)(key, x)["params"]
    params["head"]["kernel"] = 0.3 * jax.random.normal(key, params["head"]["kernel"].shape)
    added = {k: v for k, v in jax.jit(refined.init)(key, x)["params"].items() if k.startswith("refine")}
    assert set(added) == {"refine0", "refine1", "refine2"}
    said = refined.apply({"params": {**params, **added}}, x)
    np.testing.assert_array_equal(said, plain.apply({"params": params}, x))
    added["refine2"]["kernel"] = jnp.ones_like(added["refine2"]["kernel"])
    delta = refined.apply({"params": {**params, **added}}, x) - said
    assert jnp.abs(delta).max() > 1e-3
    first = added["refine0"]
    deaf = {**added, "refine0": {**first, "kernel": first["kernel"].at[:, :, :3].set(0.0)}}
    assert jnp.abs(refined.apply({"params": {**params, **deaf}}, x) - said - delta).max() > 1e-3


# ------------------------------------------------------------------------------- the second level


def levelled(key, **fields):
    """A net that listens, its parameters, none of them zero, and a picture with its condition."""
    net = UNet(width=4, multipliers=(1,), blocks=1, patch=1, embed=8, **fields)
    x = jax.random.normal(key, (2, 4, 4, 3))
    params = jax.eval_shape(net.init, key, x, jnp.zeros(2))["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return net, jax.tree.unflatten(tree, [0.3 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves)]), x


def test_a_fresh_flow_map_is_the_diffusion_net(key):
    """The one has all the parameters of the other and "until", which says nothing yet."""
    teacher, params, x = levelled(key)
    student, fresh = UNet(**{**vars_of(teacher), "until": True}), levelled(key, until=True)[0]
    assert student == fresh
    added = jax.jit(lambda: student.init(key, x, jnp.zeros(2))["params"]["until"])()
    said = teacher.apply({"params": params}, x, jnp.asarray([0.3, 0.7]))
    both = jnp.asarray([[0.3, -1.0], [0.7, 0.1]])
    np.testing.assert_array_equal(student.apply({"params": {**params, "until": added}}, x, both), said)
    np.testing.assert_array_equal(student.apply({"params": params}, x, both[:, 0]), said)  # a diffusion teacher's
    louder = jax.tree.map(lambda leaf: leaf + 0.1, added)
    assert jnp.abs(student.apply({"params": {**params, "until": louder}}, x, both) - said).max() > 1e-3


def vars_of(net):
    return {name: getattr(net, name) for name in ("width", "multipliers", "blocks", "patch", "embed")}


def test_one_level_is_a_jump_to_where_it_is(key):
    net, params, x = levelled(key, until=True)
    level = jnp.asarray([0.3, 0.7])
    one = net.apply({"params": params}, x, level)
    two = net.apply({"params": params}, x, jnp.stack([level, level], axis=-1))
    np.testing.assert_array_equal(one, two)
    other = net.apply({"params": params}, x, jnp.stack([level, level + 0.5], axis=-1))
    assert jnp.abs(other - two).max() > 1e-3


def test_two_levels_need_a_net_that_hears_them(key):
    x, two = jnp.zeros((2, 4, 4, 3)), jnp.zeros((2, 2))
    with pytest.raises(ValueError, match=r"UNet\.until"):
        UNet(**SMALL).init(key, x, two)
    with pytest.raises(ValueError, match=r"UNet\.embed"):
        UNet(**SMALL, until=True).init(key, x, two[:, 0])
