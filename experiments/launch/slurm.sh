#!/usr/bin/env bash
# A training run on several hosts of a Slurm cluster, one process a host.
#
#     sbatch --nodes 4 experiments/launch/slurm.sh --config configs/diffusion.py --workdir /shared/runs/diffusion \
#       --config.parallel.name train.parallel.Mesh
#
# WORKDIR must be on a file system that all hosts see. JAX finds the other processes by what srun sets: no flags.
#SBATCH --job-name=restore_jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/../..}"

# One process for all devices of a host. Under Slurm JAX gives a process one GPU unless it is told otherwise.
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)
if ((gpus > 0)); then
  JAX_LOCAL_DEVICE_IDS=$(seq --separator=, 0 $((gpus - 1)))
  export JAX_LOCAL_DEVICE_IDS
fi
# Proxies of the site must not stand between the hosts.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

# 120 s before the end, and on pre-emption, Slurm sends TERM to each process: it saves and ends with 0. The run is
# complete when it ends without having been asked; `--requeue` starts it again after pre-emption, from where it stopped.
exec srun --kill-on-bad-exit=1 "${PYTHON:-.venv/bin/python}" -m experiments.train "$@"
