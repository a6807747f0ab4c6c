"""Stopping: which signal asked, what a second one does, and that all processes stop at one step."""

import os
import signal

import pytest

from restore_jax.train import stop
from restore_jax.train.stop import Interrupted, Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_asks_and_the_handler_before_comes_back(number):
    before = signal.getsignal(number)
    with Stop() as asked:
        assert asked.check(1) == asked.asked == ""
        os.kill(os.getpid(), number)
        assert asked.check(2) == asked.asked == signal.Signals(number).name
    assert signal.getsignal(number) is before
    with Stop() as again:
        assert not again.asked


def test_the_second_is_obeyed_at_once():
    with Stop() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert asked.asked == "SIGTERM"


def test_a_thread_that_is_not_the_main_one_asks_nobody():
    from concurrent.futures import ThreadPoolExecutor

    def entered():
        with Stop() as asked:
            return asked.check(1)

    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(entered).result() == ""
    assert signal.getsignal(signal.SIGINT) is before


class Service:
    """What JAX's coordination service does, for two processes of which this is one."""

    def __init__(self):
        self.asked, self.agreed = [], None

    def __call__(self, count):
        self.asked.append(count)
        return count == self.agreed


def test_several_processes_stop_where_the_service_says(monkeypatch):
    """SIGTERM is left to the service; other signals are handed to it; questions are numbered 1, 2, 3, not by step."""
    service, told = Service(), []
    monkeypatch.setattr(stop.multihost_utils, "reached_preemption_sync_point", service)
    monkeypatch.setattr(stop.jax, "process_count", lambda: 2)
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with Stop() as asked:
            assert asked.check(10) == ""
            os.kill(os.getpid(), signal.SIGUSR1)
            assert told == [signal.SIGTERM]
            assert asked.asked == ""
            service.agreed = service.asked[-1] + 2
            assert asked.check(20) == ""
            assert "2 processes at step 30" in asked.check(30)
            assert asked.check(40) == asked.asked
        assert service.asked == list(range(service.asked[0], service.asked[0] + 4))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_the_service_signals_are_ones_own(monkeypatch):
    def missing(count):
        raise RuntimeError("Preemption sync manager has not been initialized.")

    monkeypatch.setattr(stop.multihost_utils, "reached_preemption_sync_point", missing)
    monkeypatch.setattr(stop.jax, "process_count", lambda: 2)
    with Stop() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.check(1) == "SIGTERM"


def test_interrupted_exits_with_0_and_says_why():
    with pytest.raises(SystemExit, match="saved at step 4") as caught:
        raise Interrupted("saved at step 4")
    assert caught.value.code == 0
    assert str(caught.value) == caught.value.message
