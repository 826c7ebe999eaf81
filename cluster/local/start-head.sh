#!/usr/bin/env bash
# Start a Ray head on the loopback, in the foreground. Ctrl-C ends it and touches no other Ray process.
# Usage: start-head.sh [CPUS] [PORT]
set -euo pipefail

cpus=${1:-$(nproc)}
port=${2:-6379}

export RAY_USAGE_STATS_ENABLED=0
# Left unset, Ray writes a token into your home and asks every later client for it.
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-disabled}
# Without this Ray listens on every network interface, whatever address it is given.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0

exec ray start --head --block --node-ip-address=127.0.0.1 --port="$port" --num-cpus="$cpus" --include-dashboard=false
