"""A net in which every field can be right, or the mistake that somebody made."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from restore_jax.export.calibration import crop, inputs
from restore_jax.export.graph import Graph

BOUND = 1e-5  # that of float32
IMAGE = jax.ShapeDtypeStruct((1, 12, 16, 3), jnp.float32)


class Net(nn.Module):
    """Every field is right as it stands, and a mistake that somebody made in another value."""

    padding: str = "constant"
    approximate: bool = True
    order: tuple[int, ...] = (0, 1, 2)
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x):
        edged = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=self.padding)
        h = nn.Conv(8, (3, 3), padding="VALID", name="head")(edged)
        h = nn.LayerNorm(epsilon=self.epsilon, use_fast_variance=False, name="norm")(h)
        with jax.named_scope("gate"):
            h = nn.gelu(h, approximate=self.approximate)
        h = nn.Conv(3, (3, 3), name="tail")(h)
        with jax.named_scope("colours"):
            h = jnp.stack([h[..., channel] for channel in self.order], axis=-1)
        return x + h


# Where the graph's own operation is that the file has otherwise; a padding is part of the convolution behind it.
PLANTED = {
    "padding": (Net(padding="edge"), ("head", "Net")),
    "GELU": (Net(approximate=False), ("gate",)),
    "channel order": (Net(order=(2, 1, 0)), ("colours", "Net")),
    "epsilon": (Net(epsilon=1e-3), ("norm",)),
}


@dataclass
class World:
    """The right graph, its parameters, and a photograph."""

    params: dict
    graph: Graph
    picture: dict


def world():
    """Drawn parameters, and a photograph that comes with scikit-learn."""
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(Net().init, jax.random.key(0), IMAGE)
    params = jax.tree.map(lambda p: jnp.float32(0.4 * rng.standard_normal(p.shape)), shapes)
    graph = Graph(lambda y: Net().apply(params, y), {"y": IMAGE})
    return World(params, graph, inputs(graph, crop(load_sample_image("china.jpg"), 12, 16)))


def wrong(world, net):
    """The graph of another net with the same parameters."""
    return Graph(lambda y: net.apply(world.params, y), {"y": IMAGE})


def place(found):
    """The last name of the module path of a divergence."""
    return found.origin.module.rpartition("/")[2]
