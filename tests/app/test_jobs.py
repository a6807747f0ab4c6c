"""The queue: one at a time, the blend of the strength, limits, and nothing left behind."""

import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.app import jobs as module
from restore_jax.app.jobs import Jobs, Limits, Refused
from restore_jax.photo.photo import open_photo
from restore_jax.photo.write import write


class Negative:
    """1 - y at twice the size; waits for the gate."""

    scale, draws, factor, halo_px = 2, 0, 1, 0
    gate = threading.Event()

    def __call__(self, key, obs):
        x = 1 - jnp.asarray(obs.y)
        return jnp.repeat(jnp.repeat(x, 2, axis=-3), 2, axis=-2)


def loaded(path):
    assert Negative.gate.wait(30)
    if path == "broken":
        raise ValueError("no such\nmodel")
    return Negative()


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load", loaded)
    Negative.gate.set()
    made = Jobs({"negative": "negative", "broken": "broken"}, Limits(waiting=2, kept=2), tmp_path / "jobs")
    yield made
    Negative.gate.set()
    made.close()
    assert not (tmp_path / "jobs").exists()


@pytest.fixture
def upload(tmp_path):
    def one(name="a.png", levels=51):
        path = tmp_path / "upload.png"
        write(path, np.full((6, 8, 3), levels, np.uint8))
        return name, path

    return one


def add(jobs, upload, model="negative"):
    name, path = upload
    return jobs.add(name, model, path)


def ended(job):
    end = time.monotonic() + 60
    while job.state in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return job


@pytest.mark.parametrize(("strength", "level"), [(0.0, 51), (0.25, 51 + 0.25 * 153), (1.0, 204)])
def test_a_download_is_the_blend_of_input_and_restored(jobs, upload, strength, level):
    """y = 51/255 everywhere, x_hat = 204/255; halves may be rounded either way in float32."""
    job = ended(add(jobs, upload()))
    assert (job.state, job.error, job.progress) == ("done", "", 1.0)
    path = jobs.download(job, strength, ".png")
    pixels = open_photo(path).pixels
    assert pixels.shape == (12, 16, 3)
    assert np.abs(pixels.astype(float) - level).max() <= 0.5 + 1e-3


def test_the_pictures_to_look_at_have_one_size(jobs, upload):
    job = ended(add(jobs, upload()))
    before, after = (open_photo(job.folder / f"{which}.jpg") for which in ("before", "after"))
    assert before.pixels.shape == after.pixels.shape == (12, 16, 3)
    assert np.abs(before.pixels.astype(int) - 51).max() <= 2  # JPEG at quality 95: flat, a level or two
    assert np.abs(after.pixels.astype(int) - 204).max() <= 2


def test_photographs_wait_in_the_order_of_arrival(jobs, upload):
    Negative.gate.clear()
    first = add(jobs, upload("first.png"))
    while first.state == "waiting":
        time.sleep(0.01)
    others = [add(jobs, upload(f"{i}.png")) for i in range(2)]
    assert [jobs.ahead(job) for job in (first, *others)] == [0, 1, 2]
    with pytest.raises(Refused, match="2 photographs are waiting") as refusal:
        jobs.room("negative")
    assert refusal.value.status == 429
    jobs.forget(others[0])
    Negative.gate.set()
    assert ended(others[1]).state == "done"
    assert others[0].state == "waiting"
    assert not others[0].folder.exists()


def test_what_is_forgotten_while_it_runs_leaves_nothing(jobs, upload):
    Negative.gate.clear()
    job = add(jobs, upload())
    while job.state == "waiting":
        time.sleep(0.01)
    jobs.forget(job)
    Negative.gate.set()
    ended(job)
    ended(add(jobs, upload()))  # the one after it is not in its way
    assert not job.folder.exists()
    with pytest.raises(Refused, match="no longer here"):
        jobs.find(job.id)


def test_old_ones_go_and_so_do_too_many(jobs, upload):
    done = [ended(add(jobs, upload(f"{i}.png"))) for i in range(3)]
    jobs.sweep()
    assert [job.folder.exists() for job in done] == [False, True, True]
    jobs.find(done[1].id)
    done[2].touched -= jobs.limits.keep_s + 1
    jobs.sweep()
    assert [job.folder.exists() for job in done] == [False, True, False]


def test_what_goes_wrong_is_one_line_and_stops_nobody(jobs, upload, tmp_path):
    (tmp_path / "bad").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    bad = ended(jobs.add("../../holiday.png", "negative", tmp_path / "bad"))
    assert bad.state == "failed"
    assert bad.error.startswith("holiday.png: ")
    assert ended(add(jobs, upload(), "broken")).error == "no such model"
    jobs.limits = Limits(max_megapixels=1e-4)
    assert "megapixels; the limit here is" in ended(add(jobs, upload())).error
    jobs.limits = Limits()
    assert ended(add(jobs, upload())).state == "done"


@pytest.mark.parametrize(
    ("strength", "suffix", "said"),
    [(1.5, ".png", "Strength lies"), (float("nan"), ".png", "Strength"), (1, ".exe", "not written")],
)
def test_a_download_out_of_range_is_refused(jobs, upload, strength, suffix, said):
    job = ended(add(jobs, upload()))
    with pytest.raises(Refused, match=said):
        jobs.download(job, float(strength), suffix)


@pytest.mark.parametrize("name", ["max_mb", "max_megapixels", "waiting", "kept", "keep_s"])
def test_limits_are_above_0(name):
    with pytest.raises(ValueError, match=rf"Limits\.{name} must be above 0, not 0"):
        Limits(**{name: type(getattr(Limits, name))(0)})
