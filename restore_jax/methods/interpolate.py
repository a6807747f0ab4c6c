"""Between two networks: the parameters on the straight line from one to the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.build import SpecError
from restore_jax.core import PyTree


def interpolate(one: PyTree, other: PyTree, share: Float[Array, ""] | float) -> PyTree:
    """`(1 - share) one + share other`, leaf by leaf: a network between two, where one was trained from the other.

    From a regression net to the GAN that started from it, this trades PSNR against texture without training: the
    answers change smoothly with `share`, which images blended pixel by pixel do not do any better. Nets that were
    trained apart have nothing on the line between them. Exact at 0 and at 1; beyond, it extrapolates.

    Raises:
        SpecError: the trees differ; the first path that does is named.

    Reference: Wang et al. 2018, "ESRGAN", section 3.4.
    """
    ours, theirs = jax.tree_util.tree_leaves_with_path(one), jax.tree_util.tree_leaves_with_path(other)
    names = [{jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves} for leaves in (ours, theirs)]
    for path in sorted(set(names[0]) ^ set(names[1])):
        place = "the first" if path in names[0] else "the second"
        raise SpecError(f"interpolate wants two networks of one kind: only {place} has {path}.")
    for path, shape in names[0].items():
        if shape != names[1][path]:
            raise SpecError(f"interpolate: {path} has shape {shape} in the first and {names[1][path]} in the second.")
    return jax.tree.map(lambda a, b: ((1 - share) * a + share * b).astype(jnp.result_type(a)), one, other)
