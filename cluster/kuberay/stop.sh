#!/usr/bin/env bash
# Ask the driver in this pod to end, and wait until it has; the preStop hook of the head. Kubernetes sends its SIGTERM
# to the first process of a container, which does not pass it on to drivers: this one would be killed in the middle.
# How long this may take is the pod's terminationGracePeriodSeconds.
set -euo pipefail

pid=$(cat "${SWEEP_PID_FILE:-/tmp/sweeper-driver.pid}" 2>/dev/null) || exit 0 # no driver was started here

# One that ended may have left its number to another process.
is_driver() { [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"sweeper run "* ]]; } 2>/dev/null

is_driver || exit 0
kill -TERM "$pid"
while is_driver; do sleep 0.5; done
