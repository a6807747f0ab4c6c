"""Millions of photographs: names, notes and retries by themselves, and whole pipelines where Beam is installed."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from restore_jax.infer.beam import MISSING, Files, Settings, model_hash, root_of, scale_out, transient
from restore_jax.methods.model import read_weights, write_model
from restore_jax.nets.safetensors_file import write_safetensors
from restore_jax.photo.read import read
from restore_jax.photo.write import write
from tests.methods.test_model import published

SETTINGS = Settings(model="model", model_hash="0", output="out", root="/photos/")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beam")
    write_safetensors(folder / "net.safetensors", published())
    return write_model(folder / "model", read_weights(folder / "net.safetensors"))


# -----------------------------------------------------------------------------------------------
# Names, settings, and what to try again
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix", "place"),
    [
        ("/photos/a/b.jpg", "", "a/b.jpg"),
        ("/photos/a/b.JPG", "", "a/b.JPG"),
        ("/photos/b.jpg", ".png", "b.jpg.png"),
        ("/photos/b.cr2", "", "b.cr2.tif"),
        ("/photos/b.dng", "", "b.dng.tif"),  # what is no longer the camera's is not called so unasked
        ("/elsewhere/../b.png", "", "b.png"),
        ("/else/b.png", "", "else/b.png"),
        ("gs://bucket/b.png", "", "gs/bucket/b.png"),
    ],
)
def test_an_output_is_called_after_its_original(name, suffix, place):
    assert dataclasses.replace(SETTINGS, suffix=suffix).place(name) == place


def test_no_two_originals_share_an_output():
    names = ["/photos/a.jpg", "/photos/a.png", "/photos/a.cr2", "/photos/b/a.jpg", "/a.jpeg", "gs://a/a.jpg"]
    assert len({dataclasses.replace(SETTINGS, suffix=".png").place(name) for name in names}) == len(names)


def test_the_hash_is_of_what_changes_an_output():
    changes = dict(model_hash="1", tile_px=64, overlap_px=8, strength=0.5, seed=1, suffix=".png")
    hashes = [dataclasses.replace(SETTINGS, **{name: value}).hash for name, value in changes.items()]
    assert len({SETTINGS.hash, *hashes}) == len(changes) + 1
    idle = dict(model="copy", output="there", root="", tries=9, delay_s=0.0)
    assert dataclasses.replace(SETTINGS, **idle).hash == SETTINGS.hash


@pytest.mark.parametrize(
    ("pattern", "root"),
    [("/p/**", "/p/"), ("/p/a*/b?.jpg", "/p/"), ("/p/a.jpg", "/p/"), ("*.jpg", ""), ("gs://b/x[0-9]", "gs://b/")],
)
def test_outputs_do_without_the_folder_before_the_wildcards(pattern, root):
    assert root_of(pattern) == root


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tile_px": 0}, "tile_px"),
        ({"tries": 0}, "tries"),
        ({"strength": 1.5}, "strength"),
        ({"suffix": "x"}, "suffix"),
    ],
)
def test_settings_out_of_range_are_named(change, said):
    with pytest.raises(ValueError, match=rf"Settings\.{said} .* not {next(iter(change.values()))}"):
        dataclasses.replace(SETTINGS, **change)


def test_what_may_pass_is_tried_again():
    wrapped = OSError("Beam's")
    wrapped.exception_details = {"a": PermissionError("no")}
    assert transient(TimeoutError())
    assert transient(OSError(5, "input/output error"))
    assert not any(transient(error) for error in (FileNotFoundError(), PermissionError(), ValueError(), wrapped))


def test_the_hash_of_a_model_is_that_of_its_numbers(model, tmp_path):
    write_safetensors(tmp_path / "net.safetensors", published())  # other numbers
    other = write_model(tmp_path / "model", read_weights(tmp_path / "net.safetensors"))
    assert model_hash(model) == model_hash(str(model)) != model_hash(other)


def test_without_beam_the_pip_command_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"restore-jax\[beam\]"):
        scale_out(SETTINGS, "nowhere/*")
    assert "\n" not in MISSING


# -----------------------------------------------------------------------------------------------
# With Beam
# -----------------------------------------------------------------------------------------------


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam", reason='the extra "beam" is not installed')


@pytest.fixture
def photos(tmp_path):
    """Six photographs, two of one name, and one damaged file."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "d.png", "more/a.png"):
        write(folder / name, rng.integers(0, 256, (24, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8)).save(folder / "e.jpg", exif=exif)
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:300])
    return folder


def command(photos, out, model, *options, **environment):
    """Status, counts and what was said, of the command in a process of its own."""
    arguments = ["beam", "--input", str(photos), "-o", str(out), "--model", str(model), "--tile", "64", *options]
    done = subprocess.run(
        [sys.executable, "-m", "restore_jax.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def outputs(out):
    """Name and date of every output."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {
        str(path.relative_to(out)): path.stat().st_mtime_ns
        for path in files
        if ".restore_jax" not in path.parts and path.name != "dead_letters.jsonl"
    }


NAMES = {"a.png", "b.png", "c.png", "d.png", "e.jpg", "more/a.png"}


def test_two_workers_restore_a_folder_once(beam, photos, model, tmp_path):
    out = photos / "restored"  # inside what is matched: outputs are no originals
    two = ("--pipeline", "--direct_num_workers", "2")
    status, counts, said = command(photos, out, model, *two)
    assert counts == {"done": 6, "skipped": 0, "failed": 1, "pixels": 6 * 24 * 40}
    assert status == 1
    assert said.splitlines()[-1].startswith("1 of 7 photographs could not be restored")
    first = outputs(out)
    assert set(first) == NAMES
    (letter,) = [json.loads(line) for line in (out / "dead_letters.jsonl").read_text().splitlines()]
    assert letter["file"].endswith("photos/bad.png")
    assert "truncated or damaged" in letter["error"]
    with Image.open(out / "e.jpg") as restored:
        assert restored.getexif()[0x010F] == "A camera"

    (photos / "bad.png").unlink()
    write(photos / "b.png", np.zeros((24, 40, 3), np.uint8))  # another original of the same name
    status, counts, _ = command(photos, out, model, *two)
    assert (status, counts) == (0, {"done": 1, "skipped": 5, "failed": 0, "pixels": 24 * 40})
    changed = {name for name, date in outputs(out).items() if date != first[name]}
    assert changed == {"b.png"}
    assert (out / "dead_letters.jsonl").read_text() == ""


def test_a_file_system_that_fails_is_tried_again_and_not_for_ever(beam, tmp_path, monkeypatch):
    from apache_beam.io.filesystems import FileSystems

    calls, rename = [], FileSystems.rename

    def failing(sources, targets):
        calls.append(targets)
        if len(calls) < 3:
            raise OSError(5, "input/output error")
        return rename(sources, targets)

    monkeypatch.setattr(FileSystems, "rename", failing)
    target = tmp_path / "out" / "a.bin"
    Files(3, 0.001).write(str(target), b"whole", str(tmp_path / "drafts"))
    assert target.read_bytes() == b"whole"
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(OSError, match="input/output"):
        Files(2, 0.001).write(str(tmp_path / "out" / "b.bin"), b"whole", str(tmp_path / "drafts"))
    assert len(calls) == 2
    assert not (tmp_path / "out" / "b.bin").exists()


def test_a_missing_name_of_a_list_is_a_dead_letter_and_is_not_tried_again(beam, photos, model, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text(f"{photos}/a.png\n\n{photos}/gone.png\n{photos}/a.png\n")
    status, counts, _ = command(names, tmp_path / "out", model)
    assert (status, counts["done"], counts["failed"]) == (1, 1, 1)
    assert set(outputs(tmp_path / "out")) == {f"{photos}/a.png".lstrip("/")}
    assert "no such file" in (tmp_path / "out" / "dead_letters.jsonl").read_text()


KILL = """
import os, sys
if "sdk_worker_main" in " ".join(sys.orig_argv):
    rename, marker = os.rename, os.environ["KILLED"]
    def once(draft, target):
        if str(target).endswith("more/a.png") and not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(9)
        return rename(draft, target)
    os.rename = once
"""


@pytest.mark.soak
@pytest.mark.parametrize("restarts", [0, 2])
def test_a_killed_worker_costs_nothing_that_was_done(beam, photos, model, tmp_path, restarts):
    """A worker dies between writing a draft and giving it its name, once.

    Beam's runner on one machine then gives up, and the command starts it again: every output is there. Told not to, it
    fails in one line, and the second call of the command completes what is missing.
    """
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILL)
    (photos / "bad.png").unlink()
    out = tmp_path / "out"
    two = (
        "--restarts",
        str(restarts),
        "--pipeline",
        "--direct_num_workers=2",
        "--direct_running_mode=multi_processing",
    )
    dying = {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{os.getcwd()}", "KILLED": str(tmp_path / "killed")}
    status, counts, said = command(photos, out, model, *two, **dying)
    assert (tmp_path / "killed").exists()
    if restarts:
        assert "The pipeline stopped" in said
    else:
        assert (status, counts) == (1, {})
        assert said.splitlines()[-1].startswith("restore-jax: the pipeline failed")
        before = outputs(out)
        assert "more/a.png" not in before
        status, counts, said = command(photos, out, model, *two, **dying)
        assert before.items() <= outputs(out).items()
        assert counts["skipped"] == len(before)
    assert status == 0
    assert counts["done"] + counts["skipped"] == 6
    assert set(outputs(out)) == NAMES
    assert {read(out / name).shape for name in NAMES} == {(24, 40, 3)}
    assert not list((out / ".restore_jax" / "drafts").glob("*"))
