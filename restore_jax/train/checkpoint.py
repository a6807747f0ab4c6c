"""Checkpoints: state, data iterator and config in one Orbax step, written whole or not at all, and known to be whole.

    workdir/config.json                       what this run is
    workdir/checkpoints/<step>/               state, data, config
    workdir/checkpoints/manifests/<step>.json the sums of all its bytes (`train.integrity`), written last

A crash while saving leaves the step before; a damaged step is named and the one before is used; a workdir that holds
another config, or a state of another layout, is refused with what differs, or migrated when asked.
"""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from restore_jax import __version__
from restore_jax.core import TrainState
from restore_jax.train import integrity
from restore_jax.train.integrity import Manifest, first_line, is_disk_trouble
from restore_jax.train.migrate import (
    arrays,
    config_differences,
    layout,
    layout_differences,
    listed,
    placed,
    taken,
    with_keys,
    without_keys,
)
from restore_jax.train.place import Positioned, move, place_of
from restore_jax.train.retain import Retain

Say = Callable[[str], None]
_aloud: Say = partial(print, file=sys.stderr)
RETAIN = Retain()
_NONE, _REFUSED = -1, -2


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or belongs to something else; the message says what to do."""


class Checkpoints:
    """The checkpoints of one workdir; a context manager, that waits at its end for what is still being written.

    In a run of several processes each calls every method; process 0 writes config and sums and says what is said.
    Opening reads the newest checkpoint's bytes once, to know that they are whole.

    Raises:
        CheckpointError: the workdir cannot be written, is another config's, or holds only damaged checkpoints.
    """

    def __init__(
        self,
        workdir: str | Path,
        config: dict[str, Any],
        retain: Retain = RETAIN,
        batch_size: int = 1,
        say: Say = print,
        migrate: bool = False,
    ):
        self.workdir = Path(workdir).resolve()
        self.directory = self.workdir / "checkpoints"
        self.config = json.loads(json.dumps(config, default=str))
        self.retain = retain
        self.batch_size = batch_size
        self.migrate = migrate
        self._first = jax.process_index() == 0
        self._say: Say = say if self._first else lambda text: None
        self._thread: threading.Thread | None = None
        self._failure: tuple[int, Exception] | None = None
        newest = self._together(self._open)
        self._saved = self._values(newest)
        self._asked = newest
        self._unread = newest  # whose bytes were found whole, and not used since
        self._writer = _new_writer()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *exc: object) -> None:
        try:
            self.wait()
        except CheckpointError as error:
            if kind is None:
                raise
            self._say(str(error))  # what ended the run is what should be seen to have ended it
        finally:
            self._writer.close()

    @property
    def latest(self) -> int | None:
        """The newest step whose bytes are whole, if any; one still being written is not."""
        return max(self._saved, default=None)

    def room_for(self, state: TrainState) -> None:
        """Looks, before the first step, whether the disk has room for `state`; speaks up if not for all that are kept.

        Raises:
            CheckpointError: there is no room for one more checkpoint.
        """
        one = sum(leaf.nbytes for leaf in jax.tree.leaves(without_keys(state)))
        copies = max(
            1, self.retain.latest + self.retain.best + 1 - len(self._saved)
        )  # the old stay until the new is whole
        free = shutil.disk_usage(self.workdir).free if self._first else one * copies
        if self._together(lambda: int(free >= one)) == 0:
            raise CheckpointError(
                f"{self.workdir} has {free / 2**20:.0f} MiB free and a checkpoint takes {one / 2**20:.0f} MiB. "
                "Free some space or choose another --workdir."
            )
        if free < one * copies:
            self._say(f"{self.workdir} has room for {free // one} more checkpoints, and {copies} will be written.")

    def save(self, state: TrainState, iterator: Positioned, values: Mapping[str, float] | None = None) -> None:
        """Begins to write one checkpoint, after the one before is on disk; returns when `state` may be given away.

        `values` are the numbers by which `Retain.best` chooses.

        Raises:
            CheckpointError: this or an earlier one cannot be written; the last good checkpoint is still there.
        """
        step = int(state.step)
        if step == self._asked:
            return
        self.wait()
        raw = without_keys(state)
        if jax.default_backend() == "cpu":
            raw = jax.tree.map(jnp.copy, raw)  # Orbax would look at these very buffers, which the next step is given
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(raw),
            data=place_of(iterator),
            config=ocp.args.JsonSave(self.config),
        )
        about = {"values": {name: float(value) for name, value in (values or {}).items()}, "tree": layout(raw)}
        self._asked = step
        try:
            if self._first:  # a damaged or half-written one of this step is no longer of use
                integrity.manifest_path(self.directory, step).unlink(missing_ok=True)
            self._writer.save(self.directory / str(step), args=items, force=True)
        except Exception as error:
            raise self._cannot_write(step, error) from error
        self._thread = threading.Thread(target=self._seal, args=(step, about), name=f"checkpoint-{step}")
        self._thread.start()

    def wait(self) -> None:
        """Returns when everything asked for is on disk and has its sums.

        Raises:
            CheckpointError: it cannot be written; the last good checkpoint is still there.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise self._cannot_write(*failure) from failure[1]

    def restore(self, like: TrainState, iterator: Positioned) -> TrainState:
        """The newest whole state, placed as `like` is; `iterator` is moved to the batch that follows it.

        Raises:
            CheckpointError: there is none, all are damaged, or its state is laid out otherwise than `like`.
        """
        self.wait()
        step = self._unread
        if step is None or step != self.latest:
            step = self._together(self._newest)
            self._saved = self._values(step)
        self._unread = None
        if step is None:
            raise CheckpointError(f"{self.workdir} holds no checkpoint.")
        manifest, folder = self._manifest(step), self.directory / str(step)
        if manifest.version != __version__:
            self._say(f"Checkpoint {step} was saved by restore_jax {manifest.version}; this is {__version__}.")
        template = without_keys(like)
        differ = layout_differences(manifest.tree, layout(template)) if manifest.tree else []
        if differ and not self.migrate:
            raise CheckpointError(
                f"Checkpoint {step} of {self.workdir} holds another state than this code and config make, "
                f"{len(differ)} leaves differ:\n{listed(differ)}\nSaved by restore_jax {manifest.version}; use that "
                "version, or ask for `migrate` to take what fits and begin the rest afresh."
            )
        raw = self._migrated(step, template) if differ else placed(folder, template)
        self._move(iterator, step)
        self._asked = step
        return with_keys(like, raw)

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints newer than `step`, after a roll-back to it."""
        self.wait()
        if self._first:
            for newer in [*integrity.steps(self.directory), *integrity.unsealed(self.directory)]:
                if newer > step:
                    integrity.remove(self.directory, newer)
        self._saved = {saved: values for saved, values in self._saved.items() if saved <= step}
        self._asked = self.latest

    def _open(self) -> int | None:
        """The newest whole step, after the workdir is found to be this config's. Process 0 only."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            manifests = self.directory / integrity.MANIFESTS
            old = integrity.unsealed(self.directory) if not manifests.exists() else []
            if old and not self.migrate:
                raise CheckpointError(
                    f"{self.workdir} holds {len(old)} checkpoints without checksums, as earlier versions wrote them. "
                    "Ask for `migrate` to take them as they are."
                )
            for step in old:
                Manifest(step, integrity.sums(self.directory / str(step)), {}, "before checksums", {}).write(
                    self.directory
                )
            manifests.mkdir(exist_ok=True)
            for cut_off in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(cut_off, ignore_errors=True)
            newest = self._newest()
            self._claim(newest)
        except OSError as error:
            raise CheckpointError(
                f"Cannot write to --workdir {self.workdir}: {first_line(error)}. Choose a folder that you may write to."
            ) from error
        return newest

    def _newest(self) -> int | None:
        return _newest(self.directory, self._say)

    def _claim(self, newest: int | None) -> None:
        """Writes config.json, or refuses: what the checkpoint was saved with decides, else the file that is there."""
        path = self.workdir / "config.json"
        try:
            written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            unreadable = False
        except ValueError:
            written, unreadable = None, True
        saved = _saved_config(self.directory, newest) if newest is not None else written
        differ = config_differences(saved, self.config) if saved is not None else []
        if differ and not self.migrate:
            raise CheckpointError(
                f"{self.workdir} belongs to another config:\n" + "\n".join(differ) + "\n"
                "Choose another --workdir, ask for the saved values to go on with that run, or for `migrate`."
            )
        if differ:
            self._say(f"{self.workdir} is migrated from another config:\n" + "\n".join(differ))
        if unreadable or (newest is not None and written is not None and config_differences(written, saved or {})):
            self._say(f"{path} was damaged or changed by hand: it is written anew.")
        integrity.write_whole(path, json.dumps(self.config, indent=1, sort_keys=True))

    def _seal(self, step: int, about: dict[str, Any]) -> None:
        """Waits for Orbax, writes the sums, removes what need not stay. On a thread of its own."""
        try:
            self._writer.wait_until_finished()
            if self._first:
                found = integrity.sums(self.directory / str(step))
                Manifest(step, found, version=__version__, **about).write(self.directory)
            saved = self._saved | {step: about["values"]}
            kept = self.retain.kept(saved, self.batch_size)
            self._saved = {known: values for known, values in saved.items() if known in kept}
            if self._first:
                for known in [*integrity.steps(self.directory), *integrity.unsealed(self.directory)]:
                    if known not in kept:
                        integrity.remove(self.directory, known)
        except Exception as error:
            self._failure = (step, error)

    def _values(self, newest: int | None) -> dict[int, Mapping[str, float]]:
        """What each step up to `newest` was saved with; one whose manifest is damaged does not count."""
        values: dict[int, Mapping[str, float]] = {}
        for step in integrity.steps(self.directory):
            if newest is not None and step <= newest:
                try:
                    values[step] = Manifest.read(self.directory, step).values
                except integrity.DamageError:
                    continue
        return values

    def _manifest(self, step: int) -> Manifest:
        try:
            return Manifest.read(self.directory, step)
        except integrity.DamageError as error:
            raise CheckpointError(f"{self.directory}: {error}.") from error

    def _migrated(self, step: int, template: TrainState) -> TrainState:
        state, lines = taken(arrays(self.directory / str(step)), template)
        self._say(f"Checkpoint {step} is migrated; {len(lines)} leaves do not fit:\n{listed(lines)}")
        return state

    def _move(self, iterator: Positioned, step: int) -> None:
        try:
            move(iterator, self.directory / str(step) / "data")
        except Exception as error:
            if not self.migrate:
                raise CheckpointError(
                    f"Checkpoint {step} of {self.workdir}: its place in the data cannot be taken, {first_line(error)}; "
                    "or ask for `migrate` to begin the data afresh."
                ) from error
            self._say(f"The place in the data is not taken, the photographs begin afresh: {first_line(error)}.")

    def _together(self, answer: Callable[[], int | None]) -> int | None:
        """The answer of process 0, for all; where it raises, all raise."""
        if jax.process_count() == 1:
            return answer()
        from jax.experimental.multihost_utils import broadcast_one_to_all

        failure, found = None, _NONE
        if self._first:
            try:
                given = answer()
                found = _NONE if given is None else given
            except Exception as error:
                failure, found = error, _REFUSED
        found = int(broadcast_one_to_all(np.int32(found)))
        if failure is not None:
            raise failure
        if found == _REFUSED:
            raise CheckpointError(f"Process 0 cannot use {self.workdir}; its own message says why.")
        return None if found == _NONE else found

    def _cannot_write(self, step: int, error: Exception) -> CheckpointError:
        self._asked, self._writer = self.latest, _new_writer()  # the old one would raise this again
        good = "None is saved yet."
        if self.latest is not None:
            good = f"The last good checkpoint, step {self.latest}, is still there."
        what = "Free some space (or choose another --workdir) and run the same command again."
        if not is_disk_trouble(error):
            what = "Run the same command again to go on from there."
        return CheckpointError(
            f"Cannot write the checkpoint of step {step} to {self.workdir}: {first_line(error)}. {good} {what}"
        )


def read(workdir: str | Path, say: Say = _aloud) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Config, state (a dict of NumPy arrays) and step of the newest whole checkpoint of a workdir.

    Reads on one process whatever was saved by many; a damaged checkpoint is named to `say` and the one before is read.

    Raises:
        CheckpointError: there is none, or all are damaged.
    """
    directory = Path(workdir).resolve() / "checkpoints"
    if not directory.is_dir():
        raise CheckpointError(f"{workdir} holds no checkpoints: give the --workdir of a training run.")
    step = _newest(directory, say)
    if step is None and not (directory / integrity.MANIFESTS).exists():
        step = max(integrity.unsealed(directory), default=None)
        if step is not None:
            say(f"Checkpoint {step} of {workdir} has no checksums: an earlier version wrote it.")
    if step is None:
        raise CheckpointError(f"{directory} holds no complete checkpoint: train a little longer.")
    return _saved_config(directory, step), arrays(directory / str(step)), step


def _newest(directory: Path, say: Say) -> int | None:
    """The newest whole step, each damaged one before it named."""
    step, damaged = integrity.newest_whole(directory)
    for number, wrong in damaged.items():
        say(f"Checkpoint {number} of {directory.parent} is damaged:\n" + listed([f"  {line}" for line in wrong]))
    if damaged and step is None:
        files = "; ".join(wrong[0] for wrong in damaged.values())
        raise CheckpointError(
            f"Every checkpoint of {directory} is damaged: {files}. Bring one back from a copy, or remove the folder to "
            "begin again."
        )
    if damaged:
        say(f"Going on from checkpoint {step}, the newest that is whole.")
    return step


def _new_writer() -> ocp.AsyncCheckpointer:
    # Folders are made before `save` returns: one that cannot be made is an error there, not a wait in another thread.
    options = ocp.AsyncOptions(create_directories_asynchronously=False)
    return ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(), async_options=options)


def _saved_config(directory: Path, step: int) -> dict[str, Any]:
    return json.loads((directory / str(step) / "config" / "metadata").read_text(encoding="utf-8"))
