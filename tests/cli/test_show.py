"""What a degradation does, by the command."""

import pytest

from restore_jax.cli import main
from restore_jax.photo.read import read


@pytest.mark.parametrize("spec", ["degrade.blur.GaussianBlur", '{"name": "degrade.downsample.Downsample", "scale": 2}'])
def test_show(picture, tmp_path, spec):
    out = tmp_path / "sheet.png"
    assert main(["show", "degrade", spec, "--image", str(picture), "-o", str(out)]) == 0
    assert read(out).shape[1] > 4 * 384
