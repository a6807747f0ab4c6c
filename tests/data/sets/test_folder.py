import numpy as np
import pytest

from restore_jax.data.sets.folder import Folder
from restore_jax.photo.read import PhotoError
from restore_jax.photo.write import write


@pytest.fixture
def photos() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(4)]


@pytest.fixture
def folder(tmp_path, photos) -> str:
    root = tmp_path / "photos"
    (root / "b" / "deep").mkdir(parents=True)
    (root / ".thumbnails").mkdir()
    names = ("a.PNG", "b/1.webp", "b/deep/2.png", "c.png")
    for name, photo in zip(names, photos, strict=True):
        write(root / name, photo)
    write(root / ".thumbnails" / "a.png", photos[0])
    (root / "._a.png").write_bytes(b"left by a Mac")
    (root / "notes.txt").write_text("not a photograph")
    (root / "folder.png").mkdir()
    return str(root)


def test_every_photograph_in_order(folder, photos):
    source = Folder(folder)
    assert source.names == ("a.PNG", "b/1.webp", "b/deep/2.png", "c.png")
    assert len(source) == 4
    assert source.sizes == tuple(photo.shape[:2] for photo in photos)
    for read, photo in zip(source, photos, strict=True):
        np.testing.assert_array_equal(read, photo)
    assert Folder(folder, suffixes=(".webp",)).names == ("b/1.webp",)


def test_a_folder_is_needed(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        Folder(str(tmp_path / "none"))
    with pytest.raises(NotADirectoryError, match="is a file"):
        Folder(f"{folder}/notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no readable photograph below .*empty ends in \.png"):
        Folder(str(tmp_path / "empty"))


def test_unreadable_photographs(folder, tmp_path):
    (tmp_path / "photos" / "bad.png").write_bytes(b"")
    source = Folder(folder)
    assert source.names.index("bad.png") == 3
    with pytest.raises(PhotoError, match=r"bad\.png: the file is empty"):
        source[3]
    with pytest.warns(UserWarning, match=r"left out: .*bad\.png: the file is empty"):
        skipping = Folder(folder, skip_unreadable=True)
    assert skipping.names == ("a.PNG", "b/1.webp", "b/deep/2.png", "c.png")
