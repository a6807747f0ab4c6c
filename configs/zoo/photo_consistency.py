"""Blind repair in one evaluation or two: easy consistency tuning of `configs/zoo/photo_teacher.py`.

`configs/zoo/photo_student.py` goes on from here; by itself it samples as its teacher does, and as coarsely.

python -m experiments.train --config configs/zoo/photo_consistency.py:PHOTOGRAPHS \\
    --workdir outputs/zoo/photo_consistency --config.start outputs/zoo/photo_teacher
"""

from ml_collections import ConfigDict

from configs import consistency
from configs.zoo import of_photographs
from configs.zoo.photo_teacher import snapshots


def get_config(photographs: str = "") -> ConfigDict:
    config = snapshots(of_photographs(consistency.get_config(), "photo_consistency", photographs, images=20_000))
    config.method.target.stage_steps = 400  # stage 3 for as large a part as in the short run
    config.method.target.b *= 2  # 1 / sigma
    config.method.sampler.sigmas = (0.5, 0.05)
    return config
