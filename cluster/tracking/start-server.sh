#!/usr/bin/env bash
# Start an MLflow tracking server in the foreground, as server.py beside this file says; --help lists what it takes.
# Usage: start-server.sh FOLDER [PORT] [OPTION...]
set -euo pipefail

exec "${PYTHON:-python3}" "$(dirname "$0")/server.py" "$@"
