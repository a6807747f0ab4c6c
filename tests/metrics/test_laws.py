"""The laws of every metric `(x_hat, x) -> [b]`. Members are discovered, but for those that need files."""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import restore_jax.metrics
from restore_jax.build import build, examples, spec_of


def takes(metric):
    """What a metric is called with."""
    return list(inspect.signature(type(metric).__call__).parameters)[1:]


SPECS = [spec for spec in examples("restore_jax.metrics") if takes(build(spec)) == ["x_hat", "x"]]
# No reference, an observation or a video: tests/metrics/test_niqe.py, test_consistency.py, test_temporal.py.
OTHERS = {"metrics.niqe.Niqe", "metrics.consistency.DownsampleConsistency", "metrics.temporal.WarpingError"}
ON_FILES = {"metrics.lpips.Lpips", "metrics.dists.Dists"}
EPS = 1.2e-7


def label(spec):
    fields = ",".join(f"{k}={v}" for k, v in spec.items() if k != "name")
    return f"{spec['name'].rpartition('.')[2]}({fields})"


def pictures(seed, *batch):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(*batch, 16, 12, 3)), jnp.float32)


@functools.cache
def quick(metric):
    return jax.jit(metric)


@functools.cache
def slope(metric):
    return jax.jit(jax.grad(lambda a, b: jnp.sum(metric(a, b))))


every = pytest.mark.parametrize("metric", [build(spec) for spec in SPECS], ids=map(label, SPECS))


def test_every_metric_has_an_example():
    """A metric is a public class that is called with (x_hat, x)."""
    found = set()
    for info in pkgutil.walk_packages(restore_jax.metrics.__path__, "restore_jax.metrics."):
        for name, cls in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
            here = cls.__module__ == info.name and not name.startswith("_")
            if here and list(inspect.signature(cls.__call__).parameters)[1:] == ["x_hat", "x"]:
                found.add(f"{info.name.removeprefix('restore_jax.')}.{name}")
    assert found == {spec["name"] for spec in SPECS} | ON_FILES
    assert {spec["name"] for spec in examples("restore_jax.metrics")} == {spec["name"] for spec in SPECS} | OTHERS


@every
def test_other_ranges_are_refused(metric):
    """Of pictures, not of what may be any vector (the plain distances); under jit the values are not known."""
    unscaled = 255 * pictures(0)
    if not type(metric).__module__.endswith(".pixel"):
        with pytest.raises(ValueError, match=r"Divide 8-bit ones by 255"):
            metric(unscaled, unscaled)
    quick(metric)(unscaled, unscaled)
    whole, refusal = jnp.zeros((16, 12, 3), jnp.uint8), (ValueError, jaxtyping.TypeCheckError)
    with pytest.raises(refusal, match=r"divide by 255|Type-check error"):
        inspect.unwrap(type(metric).__call__)(metric, whole, whole)


@every
def test_spec_goes_round(metric):
    assert build(spec_of(metric)) == metric


@every
def test_one_number_a_picture(metric):
    """Whatever the axes before it, and whatever its neighbours: to a few roundings of a mean of one sign."""
    a, b = pictures(0, 2, 3), pictures(1, 2, 3)
    together = quick(metric)(a, b)
    assert together.shape == (2, 3)
    assert together.dtype == a.dtype
    mapped = jax.jit(jax.vmap(jax.vmap(metric)))(a, b)
    np.testing.assert_allclose(mapped, together, rtol=20 * EPS)
    alone = quick(metric)(a[1, 2], b[1, 2])
    assert alone.shape == ()
    np.testing.assert_allclose(alone, together[1, 2], rtol=20 * EPS)


@pytest.mark.soak  # a second a metric: it compiles every operation by itself
@every
def test_jit_changes_nothing(metric):
    a, b = pictures(0), pictures(1)
    np.testing.assert_allclose(metric(a, b), quick(metric)(a, b), rtol=20 * EPS)


@every
def test_equal_pictures_are_the_best(metric):
    """A distance is 0 there and more elsewhere; a similarity is 1 and a ratio inf, and less elsewhere."""
    a, b = pictures(0, 2, 3), pictures(1, 2, 3)
    best, other = quick(metric)(a, a), quick(metric)(a, b)
    assert best[0, 0] in (0.0, 1.0, np.inf)
    np.testing.assert_array_equal(best, best[0, 0])
    assert jnp.all(other > best if best[0, 0] == 0 else other < best)


@every
def test_worse_pictures_measure_worse(metric):
    a, noise = pictures(0), pictures(1) - 0.5
    best, near, far = (quick(metric)(a + amount * noise, a) for amount in (0.0, 0.05, 0.5))
    assert best < near < far or best > near > far


@every
def test_symmetric(metric):
    """To the rounding of fused multiply-adds, which favour one side: a few eps."""
    a, b = pictures(0, 2, 3), pictures(1, 2, 3)
    np.testing.assert_allclose(quick(metric)(a, b), quick(metric)(b, a), rtol=20 * EPS)


@every
def test_never_broadcasts(metric):
    """Beneath the checks of shapes, which only tests have; but those are met where it calls another metric."""
    compare, refusal = inspect.unwrap(type(metric).__call__), (ValueError, jaxtyping.TypeCheckError)
    for other in (pictures(1, 1), pictures(1, 2)[..., :1], pictures(1, 2)[:, :, :1], pictures(1)):
        with pytest.raises(refusal, match=r"A metric compares pictures of one shape, not |Type-check error"):
            compare(metric, pictures(0, 2), other)


@every
def test_gradient_is_finite(metric):
    """Also where two pictures are equal, of every metric that is finite there and so may serve as a loss."""
    a, b = pictures(0), pictures(1)
    assert jnp.all(jnp.isfinite(slope(metric)(a, b)))
    assert jnp.any(slope(metric)(a, b) != 0)
    if jnp.isfinite(quick(metric)(a, a)):
        # An optimum: what is left is rounding, of numbers below 1 over 0.03^2, the smallest constant, and over 576.
        np.testing.assert_allclose(slope(metric)(a, a), 0.0, atol=1e-6)
