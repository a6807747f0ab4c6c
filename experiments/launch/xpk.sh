#!/usr/bin/env bash
# A training run on a slice of TPUs (or nodes of GPUs) of a GKE cluster made with xpk.
#
#     CLUSTER=my-cluster PROJECT=my-project ZONE=us-east5-a IMAGE=REGION-docker.pkg.dev/P/R/restore_jax:TAG \
#       experiments/launch/xpk.sh NAME --config configs/diffusion.py --workdir gs://bucket/runs/diffusion
#
# TYPE is the slice (v5litepod-16, v6e-16, h100-80gb-8 ...), SLICES how many of them. With DRY=1 the command is printed.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,7p' "$0" >&2
  exit 2
fi
name=$1
shift
for needed in CLUSTER PROJECT ZONE IMAGE; do
  if [ -z "${!needed:-}" ]; then
    echo "xpk.sh: set $needed; see the first lines of $0." >&2
    exit 2
  fi
done
type=${TYPE:-v5litepod-16}
case $type in  # xpk's own name for a slice of TPUs and for a node of GPUs
  v*) device=--tpu-type=$type slices=--num-slices=${SLICES:-1} ;;
  *) device=--device-type=$type slices=--num-nodes=${SLICES:-1} ;;
esac
command="python -m experiments.train$(printf ' %q' "$@" --config.parallel.name train.parallel.Mesh)"

arguments=(workload create "--workload=$name" "--cluster=$CLUSTER" "--project=$PROJECT" "--zone=$ZONE" "$device"
  "$slices" "--docker-image=$IMAGE" --max-restarts=10 "--command=$command")
if [ "${DRY:-0}" = 1 ]; then
  printf '%q ' xpk "${arguments[@]}"
  echo
  exit 0
fi
exec xpk "${arguments[@]}"
