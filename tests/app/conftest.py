"""A model of a few numbers, and a photograph with metadata."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore_jax.methods.model import read_weights, write_model
from restore_jax.nets.safetensors_file import write_safetensors
from tests.methods.test_model import published


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    write_safetensors(folder / "net.safetensors", published())
    return write_model(folder / "tiny", read_weights(folder / "net.safetensors"))


@pytest.fixture(scope="session")
def holiday(tmp_path_factory):
    """A JPEG with a camera's name, a place and a profile, 40 x 24 pixels."""
    path = tmp_path_factory.mktemp("holiday") / "holiday.jpg"
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif, icc_profile=profile, quality=95)
    return path
