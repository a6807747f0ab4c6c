"""A prior for zero-shot samplers, of photographs: the U-Net of `configs/prior.py`, trained for longer.

python -m experiments.train --config configs/zoo/prior.py:PHOTOGRAPHS --workdir outputs/zoo/prior
"""

from ml_collections import ConfigDict

from configs import prior
from configs.zoo import of_photographs


def get_config(photographs: str = "") -> ConfigDict:
    return of_photographs(prior.get_config(), "prior", photographs, images=24_000)
