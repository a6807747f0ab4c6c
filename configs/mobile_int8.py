"""Fine-tunes `configs/mobile.py` for convolutions in 8 bits, TFLite's "int8-static".

python -m experiments.train --config configs/mobile_int8.py:PHOTOGRAPHS --workdir outputs/mobile_int8 \
    --config.start=outputs/mobile
restore-jax export outputs/mobile_int8 --to tflite --size 256x256 --precision int8-static -o net.tflite --check
"""

from ml_collections import ConfigDict

from configs.mobile import ECBSR, recipe


def get_config(photographs: str = "") -> ConfigDict:
    config = recipe(
        photographs,
        ECBSR,
        label="mobile_int8",
        images=16_000,
        optim={"name": "train.optim.AdamW", "rate": 5e-4, "warmup_images": 800},
    )
    config.method.name = "methods.fake_quant.FakeQuant"
    return config
