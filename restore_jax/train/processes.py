"""Several processes as one run: how they find each other, which one writes, and what they agree on.

    start()                      before the first computation; nothing, for a run of one process
    if is_writer(): ...          files, tables, messages
    if agree(stop_asked): ...    the same answer in each process
    all_rows = gathered(rows)    of a set that was divided by `share`

Every process runs the same program, and whatever speaks to the others (`agree`, `gathered`, each step) must be reached
by all of them, in the same order.
"""

import os
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

COORDINATOR, PROCESSES, PROCESS = (f"RESTORE_JAX_{name}" for name in ("COORDINATOR", "PROCESSES", "PROCESS"))


def start(coordinator: str = "", count: int = 0, index: int = -1) -> None:
    """Joins the processes of a run; nothing where there is one, or where it has joined already.

    `coordinator` is the address and port of process 0, `count` the number of processes, `index` this one's number;
    what is not given is read from RESTORE_JAX_COORDINATOR, RESTORE_JAX_PROCESSES and RESTORE_JAX_PROCESS. Without
    any of them, Slurm (under srun), Open MPI, Cloud TPU pods, and GKE are recognised by what they put into the
    environment (`cluster`), and JAX finds the rest out. CPUs talk through gloo.

    Call it before anything is computed: devices are counted once.

    Raises:
        ValueError: some of the three and not all, or numbers that do not fit; called too late.
    """
    coordinator = coordinator or os.environ.get(COORDINATOR, "")
    count = count or _number(PROCESSES, 0)
    index = index if index >= 0 else _number(PROCESS, -1)
    explicit = bool(coordinator) or count > 0 or index >= 0
    if explicit:
        if count < 1 or not 0 <= index < count:
            raise ValueError(
                f"processes.start: count must be 1 or above and index from 0 to below it, not {count} and {index}: "
                f"give both, or set {PROCESSES} and {PROCESS}."
            )
        if count == 1:
            return
        if ":" not in coordinator:
            raise ValueError(
                f"processes.start.coordinator must be the HOST:PORT of process 0, not {coordinator!r}: give it, or set "
                f"{COORDINATOR}."
            )
    elif not cluster():
        return
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        if explicit:
            jax.distributed.initialize(coordinator, count, index, cluster_detection_method="deactivate")
        else:
            jax.distributed.initialize()
    except RuntimeError as error:
        if "before any JAX" in " ".join(str(error).split()):
            raise ValueError("processes.start must come before the first computation: call it first.") from error
        raise


def cluster(environment: Mapping[str, str] | None = None) -> str:
    """What started several processes, by their environment: "slurm", "open mpi", "tpu", "kubernetes", or "".

    A TPU pod is one where TPU_WORKER_HOSTNAMES names several hosts; Kubernetes means an indexed job or a JobSet of
    several pods (its number in JOB_COMPLETION_INDEX), with the package `kubernetes` installed for GPUs.
    """
    environment = os.environ if environment is None else environment

    def several(name: str) -> bool:
        return environment.get(name, "").isdigit() and int(environment[name]) > 1

    if "SLURM_PROCID" in environment and "SLURM_STEP_NODELIST" in environment and several("SLURM_NTASKS"):
        return "slurm"
    if "OMPI_MCA_orte_hnp_uri" in environment and several("OMPI_COMM_WORLD_SIZE"):
        return "open mpi"
    if "," in environment.get("TPU_WORKER_HOSTNAMES", "") or several("MEGASCALE_NUM_SLICES"):
        return "tpu"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "kubernetes"
    return ""


def is_writer() -> bool:
    """Whether this process writes files, tables and messages: process 0 does."""
    return jax.process_index() == 0


def agree(flag: bool) -> bool:
    """Whether any process asks, in each of them the same; a message to all and back, so not for every step."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag, np.int32))))


def share(count: int) -> range:
    """Which of `count` items are this process's: one block, at most one longer than another's, perhaps empty."""
    index, processes = jax.process_index(), jax.process_count()
    return range(index * count // processes, (index + 1) * count // processes)


def gathered(rows: np.ndarray) -> np.ndarray:
    """The rows of all processes, process after process, in each of them; to the bit.

    Processes may have different numbers of rows, none too (an array of shape (0, ...) then), so that `gathered` of
    `share`s is the whole set in its order. Costs the largest share, once for each process.

    Raises:
        ValueError: rows of different shapes or types.
    """
    if jax.process_count() == 1:
        return rows
    rows = np.ascontiguousarray(rows)
    told = f"{rows.dtype.str} {rows.shape[1:]}".encode().ljust(120)[:120]
    heads = multihost_utils.process_allgather(
        np.frombuffer(len(rows).to_bytes(8, "little") + told, np.uint8).astype(np.int32)
    ).astype(np.uint8)
    kinds = {bytes(head[8:]).decode().strip() for head in heads}
    if len(kinds) > 1:
        raise ValueError(f"gathered: rows must have one type and shape in all processes, not {sorted(kinds)}.")
    counts = [int.from_bytes(bytes(head[:8]), "little") for head in heads]
    width = int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.dtype.itemsize
    # As bytes: JAX would round float64 to float32 on the way.
    padded = np.zeros((max(counts), width), np.uint8)
    padded[: len(rows)] = rows.view(np.uint8).reshape(len(rows), width) if rows.size else 0
    parts = np.asarray(multihost_utils.process_allgather(padded))
    whole = np.concatenate([part[:count] for part, count in zip(parts, counts, strict=True)])
    return np.ascontiguousarray(whole).view(rows.dtype).reshape(sum(counts), *rows.shape[1:])


def _number(name: str, otherwise: int) -> int:
    """A whole number of the environment."""
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise ValueError(f"{name} must be a whole number from 0, not {text!r}.")
    return int(text) if text else otherwise
