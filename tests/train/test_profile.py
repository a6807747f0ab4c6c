"""A trace begins after two dispatches and ends after as many as asked for; `test_loop` looks at a real one."""

import jax
import pytest

from restore_jax.train.profile import Profile


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, **options: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    return calls


@pytest.mark.parametrize(("dispatches", "made", "at"), [(3, 9, [2, 5]), (1, 9, [2, 3]), (0, 9, []), (5, 4, [2, 4])])
def test_it_traces_what_was_asked_for_and_a_run_that_ends_ends_it(tmp_path, calls, dispatches, made, at):
    said, changed = [], []
    with Profile(tmp_path, dispatches, said.append) as profile:
        for k in range(1, made + 1):
            before = len(calls)
            profile.after({"loss": 1.0})
            changed += [k] * (len(calls) > before)
    assert calls == ["start", "stop"][: len(at)]
    assert changed == [k for k in at if k != made or dispatches < made - 2]
    if at:
        assert f"trace of {at[1] - 2} dispatches is in {tmp_path / 'profile'}" in said[0]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"Profile\.dispatches must be 0 or above, not -1"):
        Profile(tmp_path, -1)
