"""Where a run's numbers and pictures are shown besides its own folder: TensorBoard, Weights & Biases, MLflow.

A tracker is a spec of `config.trackers`; `open` begins its log of one run, and what comes back takes numbers and
pictures at so many images. The run's own table (`train.log`) is complete without any of them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class OpenTracker(Protocol):
    """The log of one run at a tracker."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Numbers after so many images."""
        ...

    def picture(self, images: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        """A picture in [0, 1] after so many images."""
        ...

    def rewind(self, images: int) -> None:
        """What was said of later images does not hold: the run has gone back."""
        ...

    def close(self) -> None:
        """Everything is handed over."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """What opens the log of a run that goes on after `images`; a run that is resumed goes on in the same log."""

    def open(self, workdir: str | Path, label: str, config: Mapping[str, Any], images: int) -> OpenTracker:
        """The log of one run."""
        ...


@dataclass(frozen=True)
class TensorBoard:
    """WORKDIR/tensorboard, which `tensorboard --logdir WORKDIR` opens."""

    def open(self, workdir: str | Path, label: str, config: Mapping[str, Any], images: int) -> OpenTracker:
        """The log of one run."""
        del label, config
        return _TensorBoard(Path(workdir) / "tensorboard", images)


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases; `mode` is "online", "offline" (`wandb sync` later) or "disabled".

    Raises:
        ValueError: another mode.
        ImportError: by `open`, wandb is not installed.
    """

    project: str = "restore_jax"
    entity: str = ""
    mode: str = "online"

    def __post_init__(self) -> None:
        if self.mode not in ("online", "offline", "disabled"):
            raise ValueError(f"Wandb.mode must be online, offline or disabled, not {self.mode!r}.")

    def open(self, workdir: str | Path, label: str, config: Mapping[str, Any], images: int) -> OpenTracker:
        """The log of one run; its id is kept in WORKDIR/wandb.id."""
        del images
        try:
            import wandb
        except ImportError as error:
            raise ImportError('train.trackers.Wandb needs wandb: pip install "restore-jax[wandb]".') from error
        return _Wandb(wandb, self, Path(workdir), label, config)


@dataclass(frozen=True)
class Mlflow:
    """MLflow; `uri` is the tracking server or database, empty for what MLFLOW_TRACKING_URI says.

    Raises:
        ImportError: by `open`, mlflow is not installed.
    """

    experiment: str = "restore_jax"
    uri: str = ""

    def open(self, workdir: str | Path, label: str, config: Mapping[str, Any], images: int) -> OpenTracker:
        """The log of one run; its id is kept in WORKDIR/mlflow.id."""
        del images
        try:
            import mlflow
        except ImportError as error:
            raise ImportError('train.trackers.Mlflow needs mlflow: pip install "restore-jax[mlflow]".') from error
        return _Mlflow(mlflow, self, Path(workdir), label, config)


class _TensorBoard:
    def __init__(self, folder: Path, images: int):
        self._folder = folder
        self._open(images)

    def _open(self, images: int) -> None:
        from tensorboardX import SummaryWriter

        # Files are named after the second, in which a run may go back: then the second name would be the first.
        suffix = f".{time.time_ns()}"
        self._writer = SummaryWriter(str(self._folder), purge_step=images, filename_suffix=suffix)

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def picture(self, images: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        self._writer.add_image(name, grid, images, dataformats="HWC")

    def rewind(self, images: int) -> None:
        self._writer.close()
        self._open(images)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """Everything is plotted over images; W&B keeps what was said before a run went back."""

    def __init__(self, wandb: Any, spec: Wandb, workdir: Path, label: str, config: Mapping[str, Any]):
        self._image = wandb.Image
        known = workdir / "wandb.id"
        self._run = wandb.init(
            project=spec.project,
            entity=spec.entity or None,
            mode=spec.mode,
            dir=str(workdir),
            name=label,
            config=dict(config),
            id=known.read_text().strip() if known.exists() else None,
            resume="allow",
        )
        known.write_text(self._run.id)
        self._run.define_metric("images")
        self._run.define_metric("*", step_metric="images")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._run.log({"images": images, **values})

    def picture(self, images: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        self._run.log({"images": images, name: self._image(grid)})

    def rewind(self, images: int) -> None:
        self._run.log({"images": images, "went_back_to": images})

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """Through a client of its own: what a program does with `mlflow.start_run` is left alone."""

    def __init__(self, mlflow: Any, spec: Mlflow, workdir: Path, label: str, config: Mapping[str, Any]):
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient(tracking_uri=spec.uri or None)
        known = workdir / "mlflow.id"
        if known.exists():
            self._run = known.read_text().strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(spec.experiment)
        where = experiment.experiment_id if experiment else self._client.create_experiment(spec.experiment)
        self._run = self._client.create_run(where, run_name=label).info.run_id
        known.write_text(self._run)
        self._client.log_dict(self._run, dict(config), "config.json")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        rows = [self._metric(name, value, now, images) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=rows)

    def picture(self, images: int, name: str, grid: Float[np.ndarray, "h w 3"]) -> None:
        del name
        self._client.log_image(self._run, grid, f"pictures/{images}.png")

    def rewind(self, images: int) -> None:
        self.scalars(images, {"went_back_to": float(images)})

    def close(self) -> None:
        self._client.set_terminated(self._run)


EXAMPLES = (
    {"name": "train.trackers.TensorBoard"},
    {"name": "train.trackers.Wandb", "mode": "offline"},
    {"name": "train.trackers.Mlflow", "experiment": "tiny"},
)
