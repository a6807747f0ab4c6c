"""Super-resolution by 4 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr4.py:PHOTOGRAPHS --workdir outputs/zoo/sr4

What is shipped had 6 blocks for its first 56,000 crops; the three more began as nothing (`--config.start sr4`).
"""

from ml_collections import ConfigDict

from configs.zoo import super_resolution


def get_config(photographs: str = "") -> ConfigDict:
    return super_resolution(photographs, 4, images=80_000, blocks=9)
