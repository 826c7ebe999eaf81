"""Sweeps written into a real MLflow as a driver would: trials, then the front of each task."""

from __future__ import annotations

from dataclasses import replace

from sweeper.record import MlflowRecorder
from sweeper.table import compute_fronts
from sweeper.trials import aims
from tests.contracts.recorder import FACTS


def store(uri, trials, objectives, reference_point, *, sweep="small", chosen=(), network=lambda _: None):
    """Store a sweep; `chosen` are names of objectives, for each front that is wanted beside the first."""
    recorder = MlflowRecorder(uri, network=network)
    told = aims(objectives, reference_point)
    recorder.open(replace(FACTS, name=sweep, spec_text=f"name: {sweep}\n", aims=told))
    trials = [replace(trial, sweep=sweep) for trial in trials]
    for trial in trials:
        recorder.record(trial)
    for task in dict.fromkeys(trial.task for trial in trials):
        for front in compute_fronts(trials, sweep, task, objectives, reference_point, chosen):
            recorder.record_front(front)
    recorder.close("FINISHED")
