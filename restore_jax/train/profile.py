"""`Profile`: a trace of a few dispatches of a run, for TensorBoard's profiler or ui.perfetto.dev.

workdir/profile/plugins/profile/<time>/*.xplane.pb              tensorboard-plugin-profile
workdir/profile/plugins/profile/<time>/perfetto_trace.json.gz   https://ui.perfetto.dev
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

WARM = 2  # dispatches before the trace: the first compiles, the second finds its buffers


class Profile:
    """Traces dispatches WARM + 1 ... WARM + `dispatches` of this start; 0 traces nothing. A context manager.

    Cost: the device is waited for at both ends of the trace, and the trace slows what it sees a little.

    Raises:
        ValueError: a number of dispatches below 0.
    """

    def __init__(self, workdir: str | Path, dispatches: int = 0, say: Callable[[str], None] = print):
        if dispatches < 0:
            raise ValueError(f"Profile.dispatches must be 0 or above, not {dispatches}.")
        self.folder, self.dispatches, self.say = Path(workdir) / "profile", dispatches, say
        self._done, self._tracing = 0, False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def after(self, metrics: Any) -> None:
        """One more dispatch was given to the device; `metrics` is what it will answer."""
        if not self.dispatches:
            return
        self._done += 1
        if self._done == WARM:
            jax.block_until_ready(metrics)
            jax.profiler.start_trace(self.folder, create_perfetto_trace=True)
            self._tracing = True
        elif self._done == WARM + self.dispatches:
            jax.block_until_ready(metrics)
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
            traced = self._done - WARM
            self.say(f"The trace of {traced} dispatches is in {self.folder}: for TensorBoard or ui.perfetto.dev.")
