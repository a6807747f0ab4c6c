"""Which file becomes which, who is done, and that one bad file stops nobody."""

import json
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from restore_jax.infer.jobs import JOURNAL, Behind, Job, Journal, Outcome, Stop, Stopped, jobs_of, overlap


@pytest.fixture
def tree(tmp_path):
    for name in ("in/a.jpg", "in/b/a.JPG", "in/b/c.bmp", "in/d.nef", "in/e.txt", "in/.hidden/f.png", "in/out/g.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def pairs(jobs, root):
    return {str(job.source.relative_to(root)): str(job.target.relative_to(root)) for job in jobs}


def test_folders_keep_their_structure(tree):
    assert pairs(jobs_of([str(tree / "in")], str(tree / "in/out"), "_x"), tree) == {
        "in/a.jpg": "in/out/a_x.jpg",
        "in/b/a.JPG": "in/out/b/a_x.JPG",
        "in/b/c.bmp": "in/out/b/c_x.png",
        "in/d.nef": "in/out/d_x.tif",
    }  # and nothing that was restored before, though it lies inside


def test_several_folders_keep_their_names(tree):
    (tree / "two").mkdir()
    (tree / "two/a.jpg").write_text("")
    found = pairs(jobs_of([str(tree / "in/b"), str(tree / "two")], str(tree / "x")), tree)
    assert found == {"in/b/a.JPG": "x/b/a.JPG", "in/b/c.bmp": "x/b/c.png", "two/a.jpg": "x/two/a.jpg"}


def test_patterns_and_formats(tree):
    jobs = jobs_of([str(tree / "in/**/a.*")], str(tree / "out"), kind="webp")
    assert [job.target for job in jobs] == [tree / "out/a.webp"] * 2
    assert [bool(job.error) for job in jobs] == [False, True]  # two of one name
    assert jobs_of([str(tree / "nothing*.png")], str(tree / "out")) == []


def test_a_file_into_a_file_or_a_folder(tree):
    source = str(tree / "in/a.jpg")
    assert jobs_of([source], str(tree / "x.png"))[0].target == tree / "x.png"
    assert jobs_of([source], str(tree / "x"))[0].target == tree / "x/a.jpg"
    assert "would replace itself" in jobs_of([source], source)[0].error
    assert "would replace itself" in jobs_of([str(tree / "in")], str(tree / "in"))[0].error
    assert not jobs_of([str(tree / "nowhere.png")], str(tree / "x"))[0].error  # said when it is read


def test_the_standard_streams(tree):
    assert jobs_of(["-"], "-", kind="png") == [Job(None, None)]
    assert jobs_of(["-"], "x.png") == [Job(None, Path("x.png"))]
    assert jobs_of([str(tree / "in/a.jpg")], "-", kind="png") == [Job(tree / "in/a.jpg", None)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["-", "a.png"], "out"), "comes alone"),
        ((["a.png"], "-"), "--format"),
        ((["-"], "out"), "goes into a file"),
        ((["a.png", "b.png"], "-", "", "png"), "one photograph, not 2"),
        ((["a.png"], "out", "", "psd"), r"jobs_of\.kind"),
    ],
)
def test_contradictions_are_said(arguments, said):
    with pytest.raises(ValueError, match=said):
        jobs_of(*arguments)


def test_the_journal_knows_who_is_done(tmp_path):
    source, target = tmp_path / "a.jpg", tmp_path / "out" / "a.jpg"
    source.write_text("1")
    target.parent.mkdir()
    job = Job(source, target)
    journal = Journal(target.parent, "settings")
    assert journal.state(job) == "ours"
    target.write_text("somebody's")
    assert journal.state(job) == "foreign"
    journal.begin(job)
    assert Journal(target.parent, "settings").state(job) == "ours"
    journal.done(job)
    assert Journal(target.parent, "settings").state(job) == "done"
    assert Journal(target.parent, "others").state(job) == "ours"
    target.write_text("cut")
    assert Journal(target.parent, "settings").state(job) == "ours"
    target.write_text("somebody's")
    source.write_text("newer")
    assert Journal(target.parent, "settings").state(job) == "ours"
    target.unlink()
    assert Journal(target.parent, "settings").state(job) == "ours"


def test_a_torn_line_is_passed_over(tmp_path):
    job = Job(None, tmp_path / "a.png")
    job.target.write_text("a")
    Journal(tmp_path, "s").done(job)
    whole = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(whole + '{"file": "a.p')
    other = Job(None, tmp_path / "b.png")
    other.target.write_text("b")
    journal = Journal(tmp_path, "s")
    journal.done(other)
    assert [Journal(tmp_path, "s").state(one) for one in (job, other)] == ["done", "done"]
    assert json.loads((tmp_path / JOURNAL).read_text().splitlines()[-1])["file"] == "b.png"


JOBS = [Job(Path(f"{i}.png"), Path(f"out/{i}.png"), "1.png: bad name" if i == 1 else "") for i in range(6)]


def failing(at, stage):
    def work(job, *value):
        if job is JOBS[at]:
            raise ValueError(f"{stage} fails")
        return job.source.stem if not value else value[0] + stage

    return work


@pytest.mark.parametrize("threads", [1, 3])
def test_one_bad_file_stops_nobody(threads):
    ends = list(overlap(JOBS, failing(2, "decode"), failing(3, "r"), failing(4, "e"), threads))
    by_job = {end.job: end for end in ends}
    assert [by_job[job].value for job in JOBS] == ["0re", None, None, None, None, "5re"]
    assert [by_job[job].error for job in JOBS[1:5]] == [
        "1.png: bad name",
        "2.png: decode fails",
        "3.png: r fails",
        "4.png: e fails",
    ]
    with pytest.raises(ValueError, match=r"overlap\.threads"):
        next(overlap(JOBS, str, str, str, 0))


def test_reading_and_writing_go_on_meanwhile():
    """Each stage waits for another job in the next one: without the overlap nobody would come."""
    ahead, behind = threading.Barrier(2), threading.Barrier(2)

    def decode(job):
        if job is JOBS[3]:
            ahead.wait(10)

    def restore(job, photo):
        if job is JOBS[2]:
            ahead.wait(10)
        if job is JOBS[4]:
            behind.wait(10)

    def encode(job, restored):
        if job is JOBS[3]:
            behind.wait(10)

    assert [end.error for end in overlap([JOBS[i] for i in (0, 2, 3, 4)], decode, restore, encode, 2)] == [""] * 4


def test_no_more_are_read_ahead_than_there_are_threads():
    read, most = [], []

    def restore(job, photo):
        time.sleep(0.02)
        most.append(len(read) - len(most))

    jobs = [Job(Path(str(i)), Path(str(i))) for i in range(12)]
    list(overlap(jobs, lambda job: read.append(job), restore, lambda job, restored: None, 2))
    assert max(most) <= 3  # two ahead, and the one that is being restored


def test_ctrl_c_finishes_what_is_being_written():
    written = []

    def restore(job, photo):
        if job is JOBS[3]:
            signal.raise_signal(signal.SIGINT)
        return job

    def encode(job, restored):
        time.sleep(0.05)
        written.append(job)

    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        ends = list(overlap([JOBS[0], *JOBS[2:]], lambda job: job, restore, encode, 2, stop))
        assert stop.asked
        with pytest.raises(Stopped):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # the second time at once
    assert signal.getsignal(signal.SIGINT) is before
    assert written == [JOBS[0], JOBS[2], JOBS[3]]
    assert ends == [Outcome(job, None) for job in written]


def test_a_sink_behind_writes_all_in_order():
    rows = np.arange(200 * 2 * 3, dtype=np.float32).reshape(200, 2, 3)
    held = rows.copy()
    got = []

    class Sink:
        def write(self, part):
            got.append(part)

    with Behind(Sink(), 64) as out:
        out.write(held[:150])
        held[:150] = 0  # the giver's buffer is its own again
        out.write(rows[150:])
    np.testing.assert_array_equal(np.concatenate(got), rows)


def test_a_sinks_error_comes_back():
    class Full:
        def write(self, part):
            raise OSError("the disk is full")

    rows = np.zeros((64, 2, 3), np.float32)

    def write(times):
        with Behind(Full()) as out:
            for _ in range(times):
                out.write(rows)

    for times in (1, 100):  # at the end, and by a later row
        with pytest.raises(OSError, match="full"):
            write(times)
