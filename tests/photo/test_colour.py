"""Colours of files: closed forms, and the way there and back."""

import numpy as np
import pytest
from skimage.color import lab2rgb

from restore_jax.photo.colour import CHANNELS, Colours, colours

cms = pytest.importorskip("imagecodecs", reason="profiles need imagecodecs")
WHITE = [0.3127, 0.329, 1.0]


def random(channels: int) -> np.ndarray:
    return np.random.default_rng(0).random((6, 7, channels), np.float32)


def profile(mode: str, gamma: float) -> bytes:
    if mode == "L":
        return cms.cms_profile("gray", whitepoint=WHITE, gamma=gamma)
    primaries = [0.64, 0.33, 1.0, 0.21, 0.71, 1.0, 0.15, 0.06, 1.0]
    return cms.cms_profile("rgb", whitepoint=WHITE, primaries=primaries, gamma=gamma)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "LAB"])
def test_there_and_back(mode):
    """From sRGB and back to it; float32, and the cube root of Lab: 1e-5."""
    x = random(3) if mode != "L" else np.repeat(random(1), 3, -1)
    samples = Colours(mode).from_srgb(x)
    assert samples.shape[-1] == CHANNELS[mode]
    np.testing.assert_allclose(Colours(mode).to_srgb(samples), x, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_there_and_back_through_a_profile(mode):
    """LittleCMS interpolates gammas in tables of 4096 float entries near black: 1e-3."""
    own = Colours(mode, profile(mode, 1.8))
    samples = random(CHANNELS[mode])
    np.testing.assert_allclose(own.from_srgb(own.to_srgb(samples)), samples, atol=1e-3)


def test_a_grey_profile_is_its_gamma():
    """Linear grey of 0.5 is 0.7354 in sRGB, by its formula; the profile's numbers have 16 bits: 1e-3."""
    x = Colours("L", profile("L", 1.0)).to_srgb(np.full((1, 1, 1), 0.5, np.float32))
    np.testing.assert_allclose(x, 1.055 * 0.5 ** (1 / 2.4) - 0.055, atol=1e-3)


def test_ink_without_a_profile():
    ink = np.array([[[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0, 0, 0.5]]], np.float32)
    expected = [[[1, 1, 1], [0, 1, 1], [0, 0, 0], [0.25, 0.5, 0.5]]]
    np.testing.assert_allclose(Colours("CMYK").to_srgb(ink), expected)


def test_lab_is_that_of_scikit_image():
    """Under D50, for colours within sRGB; scikit-image adapts no white, so the greys alone are compared: 3e-3."""
    samples = np.full((1, 9, 3), 128 / 255, np.float32)
    samples[..., 0] = np.linspace(0, 1, 9)
    ours = Colours("LAB").to_srgb(samples)
    lab = np.stack([samples[..., 0] * 100, *[np.zeros((1, 9))] * 2], -1)
    np.testing.assert_allclose(ours, lab2rgb(lab, illuminant="D65"), atol=3e-3)


def test_which_profiles_matter():
    assert colours("RGB", None, "x").exact
    assert not colours("RGB", profile("RGB", 2.2), "x").exact
    assert not colours("CMYK", None, "x").exact
    with pytest.warns(UserWarning, match=r"x: unusable ICC profile \(a profile for GRAY on RGB pixels\)"):
        assert colours("RGB", profile("L", 2.2), "x").exact
