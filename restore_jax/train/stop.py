"""How a run is asked to stop: Ctrl-C, SIGTERM, a cluster's notice of pre-emption; by all processes at one step."""

import itertools
import os
import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils

# SIGUSR1 is what Slurm sends ahead of time when asked to (`sbatch --signal=USR1@120`).
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

# The coordination service agrees on a count that grows by one at each call of each process, not on a step: steps may go
# by several at a time, and the agreed number has to be one that every process comes to.
_calls = itertools.count(1)


class Interrupted(SystemExit):
    """The run was asked to stop and has saved; exit status 0."""

    def __init__(self, message: str):
        super().__init__(0)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Stop:
    """Whether a run is asked to stop; a context manager, whose first signal asks and whose second is obeyed at once.

    In one process `asked` names the signal as soon as it came. In a run of several processes a signal to any of them
    is handed to JAX's coordination service, and `asked` stays "" until `check` has found the step at which all stop:
    a process that stopped alone would leave the others waiting in a collective.
    """

    asked: str = ""

    def __enter__(self) -> "Stop":
        self._before: dict[int, object] = {}
        self._seen = 0
        self._together = jax.process_count() > 1 and _has_service()
        # SIGTERM is then the service's own: its handler, in C++, tells the other processes.
        for number in SIGNALS if not self._together else tuple(s for s in SIGNALS if s != signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread (a notebook's worker): signals go where they went
                break
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self, step: int) -> str:
        """What asked, if this is the step after which every process stops; else "". Once after each dispatch.

        Every process must call it equally often. `step` is the one just finished.
        """
        if self._together and not self.asked and multihost_utils.reached_preemption_sync_point(next(_calls)):
            self.asked = f"SIGTERM (agreed by {jax.process_count()} processes at step {step})"
        return self.asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._seen += 1
        if self._seen > 1:
            raise KeyboardInterrupt
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)  # the service's, which tells the others
        else:
            self.asked = signal.Signals(number).name


def _has_service() -> bool:
    """Whether JAX's pre-emption service runs: not where `jax_enable_preemption_service` is off."""
    try:
        multihost_utils.reached_preemption_sync_point(next(_calls))
    except RuntimeError:
        return False
    return True
