"""Manifests: every changed byte is found, the file is named, and what was cut off is no checkpoint."""

import hashlib

import pytest

from restore_jax.train import integrity
from restore_jax.train.integrity import DamageError, Manifest


@pytest.fixture
def directory(tmp_path):
    """Two steps of three small files."""
    for step in (2, 10):
        folder = tmp_path / str(step)
        (folder / "state" / "d").mkdir(parents=True)
        (folder / "state" / "d" / "array").write_bytes(bytes(range(step, step + 40)))
        (folder / "state" / "empty").write_bytes(b"")
        (folder / "config").write_text("{}")
        Manifest(step, integrity.sums(folder), {"psnr": 0.1 * step}, "1.0", {"a": "int32[]"}).write(tmp_path)
    return tmp_path


def test_sums_are_sha256(directory):
    digest = hashlib.sha256(bytes(range(2, 42))).hexdigest()
    assert integrity.sums(directory / "2")["state/d/array"] == f"40 {digest}"
    assert sorted(integrity.sums(directory / "2")) == ["config", "state/d/array", "state/empty"]


def test_round_trip(directory):
    manifest = Manifest.read(directory, 10)
    assert manifest.values == {"psnr": 1.0}
    assert (manifest.step, manifest.version, manifest.tree) == (10, "1.0", {"a": "int32[]"})
    assert integrity.steps(directory) == [2, 10]  # by number: as text, 10 comes before 2
    assert integrity.newest_whole(directory) == (10, {})


def test_every_bit_of_a_file_and_of_its_manifest_counts(directory):
    """All bits of a small file, every seventh of the manifest."""
    for path in (directory / "10" / "state" / "d" / "array", directory / "manifests" / "10.json"):
        content = path.read_bytes()
        for bit in range(0, 8 * len(content), 1 if len(content) < 64 else 7):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            wrong = integrity.damage(directory, 10)
            assert len(wrong) == 1, bit
            assert path.relative_to(directory).as_posix() in wrong[0]
        path.write_bytes(content)
    assert integrity.damage(directory, 10) == []


def test_every_length_but_its_own_is_found(directory):
    path = directory / "manifests" / "10.json"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert integrity.damage(directory, 10) == ["manifests/10.json is not as it was written"]
    path.write_bytes(content)
    (directory / "10" / "state" / "d" / "array").write_bytes(bytes(39))
    (wrong,) = integrity.damage(directory, 10)
    assert wrong == "10/state/d/array is not as it was written (39 bytes; 40 were written)"


def test_missing_and_grown_files(directory):
    (directory / "10" / "state" / "empty").write_bytes(b"x")
    (directory / "10" / "config").unlink()
    assert integrity.newest_whole(directory) == (
        2,
        {10: ["10/config is missing", "10/state/empty is not as it was written (1 bytes; 0 were written)"]},
    )


def test_none_whole(directory):
    for step in (2, 10):
        (directory / str(step) / "config").write_text("[]")
    newest, damaged = integrity.newest_whole(directory)
    assert newest is None
    assert list(damaged) == [10, 2]


def test_what_no_manifest_vouches_for(directory):
    (directory / "12").mkdir()
    (directory / "14.orbax-checkpoint-tmp").mkdir()
    (directory / "manifests" / "16.json.partial").write_text("{")
    assert integrity.unsealed(directory) == [12]
    assert integrity.newest_whole(directory) == (10, {})
    assert integrity.unsealed(directory / "nowhere") == integrity.steps(directory / "nowhere") == []


def test_removed_manifest_first(directory, monkeypatch):
    """Cut off between the two, a step is unsealed: it is passed over and not called damaged."""
    monkeypatch.setattr(integrity.shutil, "rmtree", lambda *args, **kwargs: None)
    integrity.remove(directory, 10)
    assert integrity.newest_whole(directory) == (2, {})
    monkeypatch.undo()
    integrity.remove(directory, 10)
    assert integrity.unsealed(directory) == []


def test_a_manifest_that_is_not_there(directory):
    with pytest.raises(DamageError, match=r"manifests/11.json is missing"):
        Manifest.read(directory, 11)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "text"
    integrity.write_whole(path, "one")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(integrity.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        integrity.write_whole(path, "two")
    assert path.read_text() == "one"


def test_what_is_the_disks_trouble():
    outer = ValueError("could not save")
    assert not integrity.is_disk_trouble(outer)
    outer.__cause__ = OSError(28, "No space left on device")
    assert integrity.is_disk_trouble(outer)
    assert integrity.is_disk_trouble(ValueError("OUT_OF_RANGE: Failed to write: File too large [os_error_code='27']"))
    assert not integrity.is_disk_trouble(ValueError("shapes differ"))
    assert integrity.first_line(ValueError("File too large [spec]\nand more")) == "File too large"
    assert integrity.first_line(ValueError()) == "ValueError"
