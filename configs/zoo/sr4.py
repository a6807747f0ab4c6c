"""Super-resolution by 4 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr4.py:PHOTOGRAPHS --workdir outputs/zoo/sr4

What is shipped had six blocks a level for its first 56,000 crops (`--config.method.net.blocks 6`), and so has
`photo_sr4`, which starts from it; the other four began as nothing (`--config.start sr4`): 105,000 crops, the
150,000 of this recipe, and 110,000 more (`--config.images 110000`).
"""

from ml_collections import ConfigDict

from configs.zoo import super_resolution


def get_config(photographs: str = "") -> ConfigDict:
    return super_resolution(photographs, 4, images=150_000, blocks=10)
