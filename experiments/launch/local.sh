#!/usr/bin/env bash
# Several processes of one run on this machine's CPU, which speak through gloo: what a cluster does, in small.
#
#     experiments/launch/local.sh PROCESSES DEVICES_EACH COMMAND...
#     experiments/launch/local.sh 2 2 .venv/bin/python -m experiments.train --config ... --workdir ...
#
# Each process writes to its own log, process-N.log in LOGS (default: a new temporary folder); process 0's is shown.
# The exit status is 0 only if that of each process is; one that fails ends the others.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,8p' "$0" >&2
  exit 2
fi
processes=$1 devices=$2
shift 2
logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export RESTORE_JAX_COORDINATOR="127.0.0.1:$port" RESTORE_JAX_PROCESSES="$processes" JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"

pids=()
stop() { kill -"$1" "${pids[@]}" 2>/dev/null || true; }
trap 'stop TERM' TERM INT  # each process saves and ends by itself
for ((index = processes - 1; index > 0; index--)); do
  RESTORE_JAX_PROCESS=$index "$@" >"$logs/process-$index.log" 2>&1 &
  pids+=($!)
done
RESTORE_JAX_PROCESS=0 "$@" > >(tee "$logs/process-0.log") 2>&1 &
pids+=($!)

status=0 left=$processes
while ((left > 0)); do
  code=0
  wait -n "${pids[@]}" 2>/dev/null || code=$?  # one that ended in the meantime is said to be no job
  if ((code == 127)); then break; fi  # none left to wait for
  if ((code > 128)) && kill -0 "${pids[@]}" 2>/dev/null; then continue; fi  # the trap ran; they are saving
  left=$((left - 1))
  if ((code != 0)); then
    status=$code
    echo "A process ended with $code; the logs are in $logs." >&2
    stop TERM
  fi
done
exit "$status"
