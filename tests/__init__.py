"""Tests of all rooms."""

import os

# Torch computes with one thread: networks here are tiny, so two take twice the processor time for them, and many times
# the time where the machine is busy. Set before anything loads torch, and for what tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
