#!/usr/bin/env bash
# Start or continue a sweep in the head's pod; the entry point of the RayJob. Where everything is kept stands in the
# environment: SWEEPER_LEDGER, SWEEPER_STORAGE, MLFLOW_TRACKING_URI, and passwords for them.
#
# A file, and no words in the manifest: KubeRay pastes an entry point into a shell of the submitter's pod.
set -euo pipefail

name=${SWEEP_NAME:?"the name of the sweep, in the environment of the head's container"}
space=${SWEEP_SPACE:-/etc/sweeper/space.yaml}
: "${SWEEPER_LEDGER:?"a postgresql:// URL: this pod and all that is in it may be gone in a minute"}"
: "${SWEEPER_STORAGE:?"a place that all pods reach, for the same reason"}"

# For stop.sh: `exec` keeps the number of this process.
echo $$ >"${SWEEP_PID_FILE:-/tmp/sweeper-driver.pid}"

# The home is empty in each new pod. --take-on goes on with the sweep of this name that the ledger holds: so the first
# start, a retry on a new cluster and one after `suspend` are the same command.
exec sweeper run "$space" --name "$name" --home "${SWEEPER_HOME:-$HOME/sweeps}" --address auto --take-on
