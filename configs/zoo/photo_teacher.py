"""Blind repair as sampling: a diffusion model of what was lost, given the damaged photograph; the student's teacher.

python -m experiments.train --config configs/zoo/photo_teacher.py:PHOTOGRAPHS --workdir outputs/zoo/photo_teacher
"""

from ml_collections import ConfigDict

from configs import diffusion
from configs.zoo import SNAPSHOT, of_photographs

SIGMA_DATA = 0.05  # of x - y under SNAPSHOT, half of what `configs/diffusion.py` has: so are all levels
FINER = -0.7  # log(1/2)


def snapshots(config: ConfigDict) -> ConfigDict:
    """A recipe of `configs/diffusion.py`'s family for SNAPSHOT, in place of the task of the first pages."""
    with config.unlocked():
        config.degrade = ConfigDict(SNAPSHOT)
    config.method.scale = 1
    config.method.precondition.sigma_data = SIGMA_DATA
    config.method.target.levels.mean += FINER
    return config


def get_config(photographs: str = "") -> ConfigDict:
    config = snapshots(of_photographs(diffusion.get_config(), "photo_teacher", photographs, images=50_000))
    config.method.target.sigma_data = SIGMA_DATA
    config.method.sampler.schedule.sigma_max /= 2
    return config
