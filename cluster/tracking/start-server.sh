#!/usr/bin/env bash
# Start an MLflow tracking server on the loopback, in the foreground: runs in SQLite, artifacts in the same folder.
# Usage: start-server.sh FOLDER [PORT]
set -euo pipefail

folder=${1:?"name the folder that holds runs and artifacts: start-server.sh FOLDER [PORT]"}
port=${2:-5000}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

export MLFLOW_DISABLE_TELEMETRY=true
# One process and 244 MB instead of ten and more; sweeps use none of what the job runner does.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

exec mlflow server --host 127.0.0.1 --port "$port" --workers 1 \
    --backend-store-uri "sqlite:///$folder/mlflow.db" --artifacts-destination "$folder/artifacts"
