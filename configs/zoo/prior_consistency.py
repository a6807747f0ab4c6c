"""The prior's consistency function: easy consistency tuning of `configs/zoo/prior.py`.

python -m experiments.train --config configs/zoo/prior_consistency.py:PHOTOGRAPHS \\
    --workdir outputs/zoo/prior_consistency --config.start outputs/zoo/prior

What is shipped saw 8,000 crops (`--config.images`).
"""

from ml_collections import ConfigDict

from configs import prior_consistency
from configs.zoo import of_photographs


def get_config(photographs: str = "") -> ConfigDict:
    config = of_photographs(prior_consistency.get_config(), "prior_consistency", photographs, images=12_000)
    config.method.target.stage_steps = 240  # stage 4 for as large a part as in the short run
    return config
