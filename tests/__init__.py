"""Tests of all rooms."""

import os

# Torch computes with one thread: for the tiny networks here, two threads take twice the processor time, and far more
# time on a busy machine. The variable is set before anything loads torch, and processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
