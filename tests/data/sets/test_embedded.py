import socket

import numpy as np
import pytest
from PIL import Image

from restore_jax.build import build, spec_of
from restore_jax.data.sets import embedded
from restore_jax.data.sets.embedded import EXAMPLES, Embedded


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a data set reached for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("spec", EXAMPLES)
def test_holds_photographs(spec, offline):
    photos = build(spec)
    assert build(spec_of(photos)) == photos
    assert len(photos) == len(photos.names) == len(photos.sizes) == len(photos.credits) > 0
    for photo, size in zip(photos, photos.sizes, strict=True):
        assert photo.dtype == np.uint8
        assert photo.shape == (*size, 3)
        assert photo.std() > 10  # something is on it


def test_held_out_photographs_are_in_colour():
    for photo in Embedded("heldout"):
        assert np.ptp(photo.astype(int), axis=-1).mean() > 10


def test_splits_share_no_name():
    assert not set(Embedded("train").names) & set(Embedded("heldout").names)


def thumbnail(photo: np.ndarray) -> np.ndarray:
    """16 x 16 greys of mean 0 and length 1."""
    grey = np.asarray(Image.fromarray(photo).convert("L").resize((16, 16), Image.Resampling.BOX), float)
    grey -= grey.mean()
    return grey / np.linalg.norm(grey)


def test_splits_share_no_scene():
    train = {name: thumbnail(photo) for name, photo in zip(Embedded("train").names, Embedded("train"))}
    alike = train["motorcycle_left"].ravel() @ train["motorcycle_right"].ravel()
    for photo in Embedded("heldout"):
        for turn in range(4):
            for seen in (np.rot90(thumbnail(photo), turn), np.rot90(thumbnail(photo), turn)[:, ::-1]):
                nearest = max(seen.ravel() @ other.ravel() for other in train.values())
                assert nearest < min(0.9, alike)  # two views of one scene stand for what must not happen


def test_profiles_are_applied():
    """`rocket` is in Adobe RGB: read without its profile, the exhaust would be paler."""
    rocket = Embedded("heldout")[2]
    plain = np.asarray(Image.open(embedded._locate(embedded.HELDOUT["rocket"])))
    assert np.abs(rocket.astype(int) - plain).mean() > 2


def test_unknown_split():
    with pytest.raises(ValueError, match="'train' or 'heldout', not 'test'"):
        Embedded("test")


def test_absent_files_and_packages_are_named(monkeypatch):
    gone = embedded.Photo("skimage", "data/gone.png", "")
    monkeypatch.setitem(embedded.HELDOUT, "gone", gone)
    with pytest.raises(FileNotFoundError, match=r"gone\.png is absent"):
        Embedded("heldout")
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-image"):
        Embedded("heldout")
