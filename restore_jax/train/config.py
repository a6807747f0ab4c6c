"""`Config`: everything a run is."""

from dataclasses import dataclass, field
from typing import Any

from restore_jax.build import SpecError, did_you_mean
from restore_jax.train.precision import POLICIES


def _spec(name: str) -> Any:
    return field(default_factory=lambda: {"name": name})


@dataclass(frozen=True)
class Config:
    """Everything a run is. `configs/*.py` write it as a dict; numbers of images, not of steps, set its lengths.

    Something that is done every so many images is done at the first end of a dispatch at or after them: with
    `steps_per_dispatch` k, the host hears of the device every k steps and not between.

    Raises:
        SpecError: by `parse`, an unknown field, or one of another type than it has.
        ValueError: a length that cannot be.
    """

    train_set: dict[str, Any]
    degrade: dict[str, Any]
    method: dict[str, Any]
    heldout_set: dict[str, Any] | None = None
    optim: dict[str, Any] = _spec("train.optim.AdamW")
    parallel: dict[str, Any] = _spec("train.parallel.Single")
    label: str = "train"
    seed: int = 0
    images: int = 100_000
    batch_size: int = 16
    crop_px: int = 128
    ema_half_life_images: int = 5_000
    ema: dict[str, Any] | None = None  # another average than train.ema.HalfLife(ema_half_life_images)
    snapshots: dict[str, Any] | None = None  # train.ema.Snapshots: averages to be made afterwards
    precision: dict[str, Any] | None = None  # train.precision.Precision: what is computed in bfloat16
    accumulate: int = 1  # parts that a batch is cut into, one after the other, for one update
    remat: str = "none"  # what is computed again on the way back, to save memory: none, dots, full
    start: str = ""  # a workdir whose averaged parameters this run starts from
    teacher: str = ""  # a workdir whose averaged parameters become state.frozen["teacher"]
    steps_per_dispatch: int = 1  # steps that the device makes without hearing from the host
    prefetch: int = 2  # dispatches whose photographs wait on the device
    log_every_images: int = 1_000
    checkpoint_every_images: int = 10_000
    preview_every_images: int = 10_000
    retain: dict[str, Any] = _spec("train.retain.Retain")
    guard: dict[str, Any] | None = _spec("train.guard.Divergence")  # type: ignore[assignment]
    spikes: dict[str, Any] = _spec("train.spikes.Spikes")
    trackers: tuple[dict[str, Any], ...] = ({"name": "train.trackers.TensorBoard"},)

    def __post_init__(self) -> None:
        for name in ("images", "batch_size", "crop_px", "accumulate", "steps_per_dispatch", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"config.{name} must be 1 or above, not {getattr(self, name)}.")
        if self.remat not in ("none", *POLICIES):
            raise ValueError(f"config.remat must be one of none, {', '.join(POLICIES)}, not {self.remat!r}.")
        if self.images < self.batch_size:
            raise ValueError(
                f"config.images must be batch_size, {self.batch_size}, or above, not {self.images}: no step fits in."
            )

    @classmethod
    def parse(cls, config: Any) -> "Config":
        """From a dict or ConfigDict, with unknown and ill-typed fields refused by name."""
        if isinstance(config, cls):
            return config
        fields = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        known = cls.__dataclass_fields__
        for name, value in fields.items():
            if name not in known:
                raise SpecError(f"config has no field {name!r}.{did_you_mean(name, known)}")
            if known[name].type in ("int", int) and (not isinstance(value, int) or isinstance(value, bool)):
                raise SpecError(f"config.{name} is a whole number, not {value!r}.")
        return cls(**fields)

    @property
    def steps(self) -> int:
        """How many steps the run has."""
        return self.images // self.batch_size

    def due(self, every_images: int, before: int, step: int) -> bool:
        """Whether something done every so many images falls to the dispatch of the steps `before + 1 ... step`.

        The end of the run is always due.
        """
        every = max(1, every_images // self.batch_size)
        return step // every > before // every or step == self.steps
