"""Small sweeps stored in MLflow by a real recorder, without any training."""

from __future__ import annotations

from dataclasses import replace

from sweeper.analysis.fronts import compute_fronts
from sweeper.analysis.trials import aims
from sweeper.results.loaded_sweep import LoadedSweep, load
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE
from tests.contracts.recorder import FACTS


def store(uri, name, trials, objectives=OBJECTIVES, reference_point=REFERENCE, chosen=(), network=lambda _: None):
    """Write a sweep to MLflow as a driver does: its trials, then the fronts of each task.

    Trials without times get some; `network` returns the file of a trial's network by its key.
    """
    recorder = MlflowRecorder(uri, network=network)
    recorder.open(replace(FACTS, name=name, aims=aims(objectives, reference_point)))
    trials = [_timed(replace(trial, sweep=name)) for trial in trials]
    for trial in trials:
        recorder.record(trial)
    for task in sorted({trial.task for trial in trials}):
        for front in compute_fronts(trials, name, task, objectives, reference_point, chosen):
            recorder.record_front(front)
    recorder.close("FINISHED")
    return load(name, uri)


def _timed(trial):
    return trial if trial.ended_ms is not None else replace(trial, started_ms=1000, ended_ms=2000)


def in_memory(trials, name="small", objectives=OBJECTIVES, reference_point=REFERENCE):
    """Return a sweep kept in this process's memory, and its front over all objectives for each task."""
    recorder = MemoryRecorder()
    recorder.open(replace(FACTS, name=name, aims=aims(objectives, reference_point)))
    trials = [replace(trial, sweep=name) for trial in trials]
    for trial in trials:
        recorder.record(trial)
    sweep = LoadedSweep(MemoryReader(recorder, name))
    return sweep, [compute_fronts(trials, name, task, objectives, reference_point)[0] for task in sweep.tasks]
