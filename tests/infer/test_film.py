"""A film in pieces: lossless where nothing is done, and the same frames after an interruption."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import normal
from restore_jax.infer.clip import Clip
from restore_jax.infer.film import Cut, restore_film
from restore_jax.photo.mux import Encoding
from restore_jax.photo.video import VideoError, open_video
from tests.photo.made_video import packets, write_clip

ROOT = Path(__file__).parents[2]
KEY = jax.random.key(0)
PIECES = Cut(seconds=0.2)  # five frames at 25 a second


@dataclass(frozen=True)
class Grainy:
    """y, enlarged, under noise; stops after so many batches."""

    std: float = 0.0
    scale: int = 1
    draws: int = 1
    frames: int = 1

    def __call__(self, key, obs):
        y = jnp.asarray(obs.y if self.frames == 1 else obs.y.mean(axis=1))
        y = jnp.repeat(jnp.repeat(y, self.scale, axis=1), self.scale, axis=2)
        return y + self.std * normal(key, y.shape)


@dataclass(frozen=True, eq=False)
class Dying(Clip):
    """A Clip that is stopped after so many frames."""

    after: int = 7

    def stream(self, *args, **options):
        for n, one in enumerate(super().stream(*args, **options)):
            if n == self.after:
                raise KeyboardInterrupt
            yield one


def frames(path):
    return [frame.planes for frame in open_video(path).frames()]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(p, q) for one, two in zip(a, b) for p, q in zip(one, two))


def test_nothing_done_is_lossless(tmp_path):
    planes = write_clip(tmp_path / "in.mkv", rotation=0)
    seen = []
    made = restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", tmp_path / "out.mkv", encoding=Encoding("ffv1"),
                        cut=PIECES, progress=lambda done, restored: seen.append((done, restored)))  # fmt: skip
    assert same(frames(tmp_path / "out.mkv"), planes)
    assert (made.width, made.height) == (52, 36)
    assert seen == [(n, n) for n in range(1, 13)]
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}


def test_enlarged(tmp_path):
    write_clip(tmp_path / "in.mp4", 3, codec="libx264", rotation=90)
    made = restore_film(KEY, Clip(Grainy(scale=2)), tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert (made.width, made.height, made.rotation) == (104, 72, 90)
    video = open_video(tmp_path / "in.mp4")
    for a, b in zip(video.frames(), made.frames(), strict=True):
        assert np.abs(np.repeat(np.repeat(video.shown(a), 2, 0), 2, 1) - made.shown(b)).mean() < 0.01


@pytest.mark.parametrize("window", [1, 3])
def test_stopped_in_the_middle_it_goes_on_to_the_same_file(tmp_path, window):
    """With windows that reach across the pieces, and noise; packet for packet, with a lossy codec."""
    write_clip(tmp_path / "in.mp4", codec="libx264", audio="aac")
    restorer = Grainy(0.1, frames=window)
    settings = {"encoding": Encoding("h264"), "cut": PIECES}
    restore_film(KEY, Clip(restorer, 2), tmp_path / "in.mp4", tmp_path / "whole.mp4", **settings)
    with pytest.raises(KeyboardInterrupt):
        restore_film(KEY, Dying(restorer, 2), tmp_path / "in.mp4", tmp_path / "out.mp4", **settings)
    folder = tmp_path / "out.mp4.pieces"
    assert {path.name for path in folder.iterdir()} == {"settings.json", "000000.nut"}
    assert not (tmp_path / "out.mp4").exists()
    last = []
    restore_film(KEY, Clip(restorer, 2), tmp_path / "in.mp4", tmp_path / "out.mp4", **settings,
                 progress=lambda *counts: last.append(counts))  # fmt: skip
    assert last[-1] == (12, 7)  # the first five were there
    for kind in ("video", "audio"):
        assert packets(tmp_path / "out.mp4", kind) == packets(tmp_path / "whole.mp4", kind)
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_other_settings_begin_anew(tmp_path):
    planes = write_clip(tmp_path / "in.mkv")
    output, settings = tmp_path / "out.mkv", {"encoding": Encoding("ffv1"), "cut": PIECES}
    with pytest.raises(KeyboardInterrupt):
        restore_film(KEY, Dying(Grainy(0.3)), tmp_path / "in.mkv", output, settings={"model": "a"}, **settings)
    said = []
    restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", output, settings={"model": "b"}, say=said.append, **settings)
    assert any("starting anew" in line for line in said)
    assert same(frames(output), planes)


def test_a_folder_that_is_in_the_way_is_left_alone(tmp_path):
    write_clip(tmp_path / "in.mkv", 2)
    (tmp_path / "out.mkv.pieces").mkdir()
    (tmp_path / "out.mkv.pieces" / "diary.txt").write_text("dear")
    with pytest.raises(VideoError, match="in the way"):
        restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv.pieces" / "diary.txt").exists()


def test_a_part_of_it(tmp_path):
    planes = write_clip(tmp_path / "in.mkv", base=Fraction(1, 25))
    made = restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", tmp_path / "out.mkv", encoding=Encoding("ffv1"),
                        cut=Cut(0.12, 0.4, 0.2))  # fmt: skip
    assert made.first == 0
    assert same(frames(tmp_path / "out.mkv"), planes[3:10])


def test_errors(tmp_path):
    write_clip(tmp_path / "in.mkv", 2)
    with pytest.raises(VideoError, match="no frame between 5"):
        restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", tmp_path / "out.mkv", cut=Cut(5, 6))
    with pytest.raises(VideoError, match="another name"):
        restore_film(KEY, Clip(Grainy()), tmp_path / "in.mkv", tmp_path / "in.mkv")
    with pytest.raises(VideoError, match=r"frame 0.*NaN"):
        restore_film(KEY, Clip(Grainy(np.nan)), tmp_path / "in.mkv", tmp_path / "out.mkv")
    for wrong, field in (((-1, None), "start"), ((2, 1), "end"), ((None, None, 0), "seconds")):
        with pytest.raises(ValueError, match=rf"Cut\.{field}"):
            Cut(*wrong)


KILLED = """
import os, signal, sys
import jax
from restore_jax.infer.film import Cut, restore_film
from restore_jax.infer.clip import Clip
from tests.infer.test_film import Grainy, KEY, PIECES
def progress(done, restored):
    if done == 8:
        os.kill(os.getpid(), signal.SIGKILL)
restore_film(KEY, Clip(Grainy(0.1), 2), sys.argv[1], sys.argv[2], cut=PIECES, progress=progress)
"""


@pytest.mark.soak
def test_killed_in_the_middle(tmp_path):
    """A process that is killed leaves finished pieces and no other; the next call gives the frames of a whole run."""
    write_clip(tmp_path / "in.mp4", codec="libx264")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "in.mp4"), str(tmp_path / "out.mp4")]
    died = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.mp4").exists()
    counts = []
    for name in ("out.mp4", "whole.mp4"):
        restore_film(KEY, Clip(Grainy(0.1), 2), tmp_path / "in.mp4", tmp_path / name, cut=PIECES,
                     progress=lambda *both: counts.append(both))  # fmt: skip
    assert (12, 7) in counts
    assert same(frames(tmp_path / "out.mp4"), frames(tmp_path / "whole.mp4"))
