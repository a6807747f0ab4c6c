"""Blind repair as sampling: a diffusion model of what was lost, given the damaged photograph; the student's teacher.

python -m experiments.train --config configs/zoo/photo_teacher.py:PHOTOGRAPHS --workdir outputs/zoo/photo_teacher
"""

from ml_collections import ConfigDict

from configs import diffusion
from configs.zoo import SNAPSHOT, of_photographs


def get_config(photographs: str = "") -> ConfigDict:
    config = of_photographs(diffusion.get_config(), photographs, images=200_000)
    with config.unlocked():
        config.degrade = ConfigDict(SNAPSHOT)
    config.method.scale = 1
    return config
