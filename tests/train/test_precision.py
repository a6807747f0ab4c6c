"""Networks in bfloat16 and networks computed twice: near the float32 ones, and equal to them."""

import importlib
import pkgutil
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import restore_jax.nets
from restore_jax.build import build
from restore_jax.core import Observation, TrainState
from restore_jax.methods.regression import Cubic
from restore_jax.nets.unet import UNet
from restore_jax.train.precision import Precise, Precision, rematerialised
from tests.train.tiny import DIFFUSION

NETS = [
    spec
    for module in pkgutil.walk_packages(restore_jax.nets.__path__, "restore_jax.nets.")
    for spec in getattr(importlib.import_module(module.name), "EXAMPLES", ())
    if not spec["name"].startswith("nets.discriminator")
]
NET = UNet(width=4, multipliers=(1,), blocks=2, patch=1, embed=0)
LEVEL = jnp.full((1,), 0.3)


@dataclass(frozen=True)
class Squares:
    """A method as far as its loss goes: the mean square of the network's answer, and what type a module answered in."""

    net: nn.Module

    def init(self, key, obs, x):
        return self.net.init(key, x, LEVEL, None)["params"]

    def loss(self, params, state, obs, x, key):
        return jnp.mean(self.net.apply({"params": params}, x, LEVEL, None) ** 2), {}

    def restorer(self, params):
        return Cubic()


def asked(method, params, x):
    state = TrainState(step=0, params={}, ema={}, opt_state={}, key=None)
    return method.loss(params, state, Observation(x), x, jax.random.key(0))


def loaded(net):
    """Parameters none of which is zero, and a picture."""
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    params = net.init(jax.random.key(0), x, LEVEL, None)["params"]
    leaves, shape = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    return shape.unflatten([p + 0.2 * jax.random.normal(k, p.shape) for k, p in zip(keys, leaves)]), x


def gradient(method, params, x):
    return jax.jit(jax.grad(lambda p: asked(method, p, x)[0]))(params)


def distance(one, other):
    """The norm of the difference of two trees over that of the second."""
    square = lambda tree: sum(float(jnp.sum(leaf.astype(jnp.float32) ** 2)) for leaf in jax.tree.leaves(tree))
    return (square(jax.tree.map(jnp.subtract, one, other)) / square(other)) ** 0.5


class TestBfloat16:
    # A number is rounded by 2^-9 of itself. Some dozen layers forwards and back, roundings independent: 2^-9 sqrt(24),
    # a percent; the gain of the layers after, a few times that. What is not rounded at all agrees to 2^-16: a failure.
    LEAST, MOST = 2**-12, 0.06

    def test_gradients_are_float32_roughly(self):
        params, x = loaded(NET)
        lowered = gradient(Precision("bfloat16").on(Squares(NET)), params, x)
        assert {leaf.dtype for leaf in jax.tree.leaves(lowered)} == {jnp.float32.dtype}
        assert self.LEAST < distance(lowered, gradient(Squares(NET), params, x)) < self.MOST

    @pytest.mark.soak
    @pytest.mark.parametrize("spec", NETS, ids=lambda spec: spec["name"])
    def test_of_every_network(self, spec):
        net = build(spec)
        params, x = loaded(net)
        lowered = gradient(Precision("bfloat16").on(Squares(net)), params, x)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(lowered))
        # Random weights of 0.2 make attention sharp and activations large in a few: their direction is what is left.
        assert self.LEAST < distance(lowered, gradient(Squares(net), params, x)) < 0.5

    def test_a_kept_module_answers_float32_and_the_others_do_not(self):
        params, x = loaded(NET)
        answers = {}

        def watch(next_fun, args, kwargs, context):
            out = next_fun(*args, **kwargs)
            if context.method_name == "__call__":
                answers["/".join(context.module.path)] = out.dtype
            return out

        method = Precision("bfloat16", keep=("*/norm", "head")).on(Squares(NET))

        @jax.eval_shape
        def _(params=params):
            with nn.intercept_methods(watch):
                return asked(method, params, x)

        assert answers["head"] == answers["down0_0/norm"] == jnp.float32
        assert answers["stem"] == answers["down0_0/conv_in"] == answers["down0_1"] == jnp.bfloat16

    def test_all_kept_is_float32(self):
        params, x = loaded(NET)
        kept = gradient(Precision("bfloat16", keep=("*",)).on(Squares(NET)), params, x)
        # Only what the blocks are added up in is left: it is float32, as their answers are.
        assert distance(kept, gradient(Squares(NET), params, x)) < 1e-5

    def test_init_and_restorer_are_the_methods_own(self):
        params, x = loaded(NET)
        method = Precision("bfloat16").on(Squares(NET))
        assert method.restorer(params) == Cubic()
        fresh = method.init(jax.random.key(0), Observation(x), x)
        jax.tree.map(np.testing.assert_array_equal, fresh, Squares(NET).init(jax.random.key(0), Observation(x), x))

    def test_every_network_of_a_method_is_lowered(self):
        method = Precision("bfloat16").on(build(DIFFUSION))
        assert isinstance(method, Precise)
        assert method.lowered.net.dtype == jnp.bfloat16
        assert method.net.dtype is None  # the method's own


class Mixed(nn.Module):
    """Linen's own dense layer: the forms of `nets.layers` for a CPU have no precision to choose."""

    @nn.compact
    def __call__(self, x, c_noise=None, cond=None):
        return nn.Dense(3)(x)


class TestMatmul:
    def test_it_is_in_the_program(self):
        params, x = loaded(Mixed())
        lower = lambda method: str(jax.make_jaxpr(lambda p: asked(method, p, x)[0])(params))
        assert "Precision.HIGHEST" in lower(Precision(matmul="highest").on(Squares(Mixed())))
        assert "Precision.HIGHEST" not in lower(Squares(Mixed()))


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"compute": "float16"}, r"Precision.compute must be one of float32, bfloat16, not 'float16'"),
            ({"matmul": "low"}, r"Precision.matmul must be one of default, high, highest, not 'low'"),
            ({"keep": ("a",)}, r"Precision.keep must be \(\) where compute is float32"),
        ],
    )
    def test_numbers(self, fields, said):
        with pytest.raises(ValueError, match=said):
            Precision(**fields)

    def test_a_method_without_networks(self):
        with pytest.raises(ValueError, match=r"Precision.compute must be float32 for Squares"):
            Precision("bfloat16").on(Squares(nn.Dense))  # a class is no network

    def test_a_pattern_that_matches_nothing(self):
        params, x = loaded(NET)
        method = Precision("bfloat16", keep=("norms",)).on(Squares(NET))
        with pytest.raises(
            ValueError, match=r"Precision.keep must match modules of the networks, and 'norms' does not"
        ):
            jax.eval_shape(lambda p: asked(method, p, x), params)

    def test_the_default_is_the_method_itself(self):
        method = Squares(NET)
        assert Precision().on(method) is method


class TestRematerialised:
    def residuals(self, policy, params, x):
        """How many numbers the backward pass is given."""

        def loss(p):
            with rematerialised(policy):
                return asked(Squares(NET), p, x)[0]

        _, backward = jax.eval_shape(lambda p: jax.vjp(loss, p), params)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    def test_less_is_kept(self):
        params, x = loaded(NET)
        none, dots, full = (self.residuals(policy, params, x) for policy in ("none", "dots", "full"))
        assert full <= dots < none
        assert full < 0.7 * none

    @pytest.mark.parametrize("policy", ["full"])
    def test_gradients_are_the_same(self, policy):
        params, x = loaded(NET)

        class Again(Squares):
            def loss(self, *given):
                with rematerialised(policy):
                    return super().loss(*given)

        # The same operations in the same order, fused by the compiler otherwise: a few units in the last place.
        assert distance(gradient(Again(NET), params, x), gradient(Squares(NET), params, x)) < 1e-5

    def test_paths_are_the_same_inside(self):
        """`Precision.keep` reaches into blocks that are computed twice."""
        params, x = loaded(NET)
        method = Precision("bfloat16", keep=("down0_0/norm",)).on(Squares(NET))

        def loss(p):
            with rematerialised("full"):
                return asked(method, p, x)[0]

        jax.eval_shape(jax.grad(loss), params)

    def test_another_name(self):
        with (
            pytest.raises(ValueError, match=r"make_step.remat must be one of none, full, dots, not 'some'"),
            rematerialised("some"),
        ):
            pass
