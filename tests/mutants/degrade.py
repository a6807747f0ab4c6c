"""Do the laws of degradations notice a bug? Ten and more are planted, one at a time.

    python -m tests.mutants.degrade            about ten minutes on two cores

Each mutant is one changed line in a copy of the repository; the laws of the members that it touches run there,
after they have passed unchanged. The last line printed is JSON: how many were planted and how many caught.
"""

from tests.mutants.plant import Mutant, plant


def of(file: str, line: str, bug: str, member: str) -> Mutant:
    """A bug in degrade/, and the laws of the examples called `member`; brackets and signs are no words of pytest's."""
    words = member.replace("(", " and ").replace("=", " and ")
    return Mutant(f"degrade/{file}", line, bug, ("tests/degrade/test_laws.py", "-k", words))


_CUT = (
    "inverse = jnp.where(denominator > rounding, 1.0 / jnp.maximum(denominator, rounding), 0.0)\n        return filter"
)
_WHITE = (
    "Gaussian(std and not Poisson and not Blur and not isotropic and not Generalised "
    "and not Chain and not wise and not Video"
)
_OTHER_KEY = "jax.random.bernoulli(jax.random.key(__import__('time').time_ns() % 10**6),"

MUTANTS = (
    of("linear.py", "(y, self.rows.T, self.cols.T)", "(y, self.rows.T, 0.99 * self.cols.T)", "Downsample(scale=2"),
    of("linear.py", "(y, jnp.conj(self._otf()))", "(y, self._otf())", "HandShake"),
    of("linear.py", "power = jnp.abs(self._otf()) ** 2", "power = jnp.abs(self._otf())", "AnisotropicGaussian"),
    of("linear.py", _CUT, "inverse = 1.0 / (power + 2 * reg)\n        return filter", "Defocus"),
    of("mask.py", "= self.mask**2 + reg", "= self.mask**2 + 2 * reg", "RandomPixels and not Video and not Chain"),
    of("channel.py", "where(a + reg > rounding, 1.0", "where(a > rounding, 1.01", "Greyscale"),
    of("warp.py", "splat(y, self.grid, self.in_shape[0], self.in_shape[1],", "sample(y, self.grid,", "Affine"),
    of("fourier.py", "possible * _inverse(0.5 * square + reg)", "possible * _inverse(square + reg)", "FourierMask"),
    of("raw.py", "return unmosaic(y, self.pattern)", 'return unmosaic(y, "bggr")', "Mosaic"),
    of("noise.py", "y=x + std * noise, op", "y=x + std**2 * noise, op", _WHITE),
    of("mask.py", "jax.random.bernoulli(key_mask,", _OTHER_KEY, "RandomPixels and not Video and not Chain"),
    of("burst.py", "* self.gain.reshape(-1, 1, 1, 1)", "* self.gain.reshape(-1, 1, 1, 1) + 1e-3", "Burst"),
    of("video.py", "a.adjoint(y), y)", "a.adjoint(y), y[::-1])", "Video and redrawn"),
    of(
        "compress.py",
        "y=jpeg(x, draw(key, self.quality), self.subsampling, self.rounding)",
        "y=x.round() + 0 * draw(key, self.quality).astype(x.dtype)",
        "Jpeg and not Double",
    ),
)


if __name__ == "__main__":
    plant(MUTANTS)
