"""Blind repair in one evaluation that looks real: the consistency function of `configs/zoo/photo_teacher.py`'s bridge.

python -m experiments.train --config configs/zoo/photo_student.py:PHOTOGRAPHS --workdir outputs/zoo/photo_student \\
    --config.start outputs/zoo/photo_teacher

It tunes consistency with a rival: what it says at a point of the bridge is what it says nearer to the photograph, and
is to look like the photograph in pixels, in colours, in features, without a grid that they would pay for, and to a
rival that sees through a net trained on ImageNet, all from a place drawn anew. Three questions in four are put where
restoring starts.

What is shipped came of four runs, each from the one before (`--config.start`): 24,000 crops without views and without
a loss of grids, 20,000 with views, 4,000 with `metrics.grid` at a weight of 20 in the place of `metrics.spectrum`, all
these with a weight of 1 for pixels and of 5 for colours, and 14,000 as it is written here (`--config.images`).
docs/decisions/0023 says what each did.
"""

from ml_collections import ConfigDict

from configs.esrgan import LOSSES, VIEW
from configs.zoo import SNAPSHOT, recipe
from configs.zoo.photo_sr4_gan import RIVAL
from configs.zoo.photo_teacher import AROUND, BRIDGE, TOLD

RATE = {"name": "train.optim.AdamW", "rate": 1e-3, "final": 0.1}


def get_config(photographs: str = "") -> ConfigDict:
    student = {
        "name": "methods.regression.Regression",
        "scale": 1,
        "net": TOLD,
        "precondition": AROUND,
        "target": {
            "name": "targets.bridge_consistency.BridgeConsistency",
            "bridge": BRIDGE,
            "stage_steps": 200,
            "max_stage": 4,
            "at_end": 0.75,
        },
        "metric": {"name": "metrics.pixel.PseudoHuber", "c": 0.01},
        "sampler": {"name": "diffusion.bridge.Bridge", "bridge": BRIDGE, "n_steps": 1},
    }
    return recipe(
        photographs,
        label="photo_student",
        images=20_000,
        batch_size=8,
        crop_px=64,
        degrade=SNAPSHOT,
        method={
            "name": "methods.adversarial.AdversarialConsistency",
            "generator": student,
            "losses": LOSSES,
            "rival": RIVAL,
            "view": VIEW,
        },
        optim={
            "name": "train.optim.Players",
            "optims": {"generator": RATE, "discriminator": RATE},
        },
        ema_half_life_images=1_000,
        log_every_images=400,
        checkpoint_every_images=2_000,
    )
