"""Pictures as people have them, ready made: at the size of x, nothing told, in steps of 1/255.

Each is a chain of members that stand on their own; take one as a start, and `build.spec_of(Phone().chain)`
as the text to change.
"""

import functools
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.age import Fade, Scratches
from restore_jax.degrade.blur import Defocus, GaussianBlur, HandShake
from restore_jax.degrade.chain import Chain
from restore_jax.degrade.choice import Choice, Maybe
from restore_jax.degrade.compress import DoubleJpeg, Jpeg, as_file
from restore_jax.degrade.noise import DeadPixels, Gaussian
from restore_jax.degrade.weather import LowLight


@functools.partial(jax.jit, static_argnums=0)  # many small steps: slow one by one
def _file(chain: Chain, key: Key[Array, ""], x: Float[Array, "h w 3"]) -> Observation:
    """What the chain makes of x, as a file holds it."""
    return as_file(chain(key, x).y)


@dataclass(frozen=True)
class Phone:
    """A snapshot: the hand shakes, or focus is missed, light is short, and the phone saves a JPEG."""

    @property
    def chain(self) -> Chain:
        """Its steps."""
        shaken = HandShake(length=(1.0, 8.0), size=15, boundary="reflect")
        missed = Defocus(radius=(0.5, 2.0), size=7, boundary="reflect")
        light = LowLight(stops=(0.0, 3.0), full_well=(3000.0, 10000.0), read=(1.0, 5.0), amplify=True)
        return Chain((Maybe(Choice((shaken, missed), (2.0, 1.0)), 0.5), light, Jpeg((75.0, 95.0))))

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w 3"]) -> Observation:
        """The snapshot of x."""
        return _file(self.chain, key, x)


@dataclass(frozen=True)
class Web:
    """A picture that went round: softened by resizing, and saved twice, the second time on another grid."""

    @property
    def chain(self) -> Chain:
        """Its steps."""
        twice = DoubleJpeg((40.0, 90.0), (40.0, 90.0))
        return Chain((Maybe(GaussianBlur((0.3, 1.2)), 0.7), Choice((twice, Jpeg((20.0, 80.0))), (1.0, 1.0))))

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w 3"]) -> Observation:
        """The file that is found."""
        return _file(self.chain, key, x)


@dataclass(frozen=True)
class Scan:
    """An old print, scanned: soft, faded, grainy, dusty and scratched."""

    @property
    def chain(self) -> Chain:
        """Its steps."""
        dust = DeadPixels(share=(0.0, 0.001))
        marks = Maybe(Scratches(), 0.7)
        return Chain((GaussianBlur((0.4, 1.2)), Fade(), Gaussian((0.01, 0.05)), dust, marks, Jpeg((80.0, 95.0))))

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w 3"]) -> Observation:
        """The scan of x as a print."""
        return _file(self.chain, key, x)


EXAMPLE_SHAPE = (16, 20, 3)

EXAMPLES = (
    {"name": "degrade.preset.Phone"},
    {"name": "degrade.preset.Web"},
    {"name": "degrade.preset.Scan"},
)
