"""Super-resolution by 4 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr4.py:PHOTOGRAPHS --workdir outputs/zoo/sr4
"""

from ml_collections import ConfigDict

from configs.zoo import super_resolution


def get_config(photographs: str = "") -> ConfigDict:
    return super_resolution(photographs, 4, images=56_000)
