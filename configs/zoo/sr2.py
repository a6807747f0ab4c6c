"""Super-resolution by 2 of photographs that were reduced as MATLAB does it.

python -m experiments.train --config configs/zoo/sr2.py:PHOTOGRAPHS --workdir outputs/zoo/sr2
"""

from ml_collections import ConfigDict

from configs.zoo import super_resolution


def get_config(photographs: str = "") -> ConfigDict:
    return super_resolution(photographs, 2, images=14_000)
