"""Blind repair in many small steps: a bridge from the damaged photograph to the whole one; the student's teacher.

python -m experiments.train --config configs/zoo/photo_teacher.py:PHOTOGRAPHS --workdir outputs/zoo/photo_teacher \\
    --config.start outputs/zoo/photo

It starts from the regression `photo`, whose net it has and a level to listen to: at the bridge's far end, y, the two
are one function. A diffusion model of the same size, from noise, gave pictures that were worse than what it was given:
posterior samples of a net of 0.8 million parameters are grain. A bridge with little noise, of deviation KAPPA, need not
draw what y shows.
"""

from ml_collections import ConfigDict

from configs.zoo import SNAPSHOT, recipe
from configs.zoo.denoise import NET

KAPPA = 0.02
STEPS = 4  # each adds texture: ten, against which its student is measured, add more than an eye likes
BRIDGE = {"name": "diffusion.bridge.ResidualShift", "kappa": KAPPA}
TOLD = NET | {"embed": 64}
# residual = 1: the output of the net at y is what the regression's is, in units of x.
AROUND = {"name": "diffusion.bridge.BridgeScale", "bridge": BRIDGE, "residual": 1.0, "sees": ()}


def get_config(photographs: str = "") -> ConfigDict:
    config = recipe(
        photographs,
        label="photo_teacher",
        images=30_000,
        batch_size=8,
        crop_px=64,
        degrade=SNAPSHOT,
        method={
            "name": "methods.regression.Regression",
            "scale": 1,
            "net": TOLD,
            "precondition": AROUND,
            "target": {"name": "targets.bridge.Bridge", "bridge": BRIDGE},
            "metric": {"name": "metrics.pixel.Mse"},
            "sampler": {"name": "diffusion.bridge.Bridge", "bridge": BRIDGE, "n_steps": STEPS},
        },
    )
    with config.unlocked():
        config.optim.rate = 5e-4  # it does not start from nothing
    return config
