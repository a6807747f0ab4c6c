"""Blind repair in one evaluation or two: easy consistency tuning of `configs/zoo/photo_teacher.py`.

python -m experiments.train --config configs/zoo/photo_student.py:PHOTOGRAPHS --workdir outputs/zoo/photo_student \\
    --config.start outputs/zoo/photo_teacher
"""

from ml_collections import ConfigDict

from configs import consistency
from configs.zoo import SNAPSHOT, of_photographs


def get_config(photographs: str = "") -> ConfigDict:
    config = of_photographs(consistency.get_config(), photographs, images=60_000)
    with config.unlocked():
        config.degrade = ConfigDict(SNAPSHOT)
    config.method.scale = 1
    config.method.target.stage_steps = 1_200  # as many stages as in the short run
    return config
