"""`import sweeper`: the Python interface uses the command line's code, checks and environment variables."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.errors import SpecError, SweepInterruptedError, TrialsFailedError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.provenance import DISTRIBUTION
from sweeper.results.find_network import find_network
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.trial import Ended, Outcome

SPEC = {
    "name": "mapped",
    "task": {"data": "digits", "train_images": 60, "test_images": 40},
    "lattice": {"channels": 2, "layers": 1, "steps": 2},
    "parameters": {"breadth_pressure": {"values": [0, 1e-3]}},
    "training": {"epochs": 1, "batch_size": 30},
    "objectives": [{"name": "accuracy", "goal": "maximize"}, {"name": "time", "goal": "minimize"}],
    "reference_point": {"accuracy": 0, "time": 3},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder, without the variables that say where sweeps are."""
    monkeypatch.chdir(tmp_path)
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI", "SWEEPER_STORAGE", "SWEEPER_LEDGER", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def here(**options):
    """Return options that run a sweep in this process, and record its outcomes in memory."""
    return {"executor": InlineExecutor(), "recorder": MemoryRecorder(), "progress": False} | options


class Stopping(InlineExecutor):
    """An executor that raises the signal of Ctrl-C before each job's work."""

    def run(self, work, source, request):
        def stop(job, report):
            signal.raise_signal(signal.SIGINT)
            return work(job, report)

        super().run(stop, source, request)


class Failing(InlineExecutor):
    """An executor whose jobs all fail for good."""

    def run(self, work, source, request):
        super().run(
            lambda job, report: [Ended(Outcome.FAILED, "no", is_final=True)] * len(job.wanted_keys), source, request
        )


def test_public_names_are_there_and_documented():
    assert set(sweeper.__all__) <= set(dir(sweeper))
    for name in set(sweeper.__all__) - {"__version__"}:
        assert getattr(sweeper, name).__doc__, name
    with pytest.raises(AttributeError, match="'sweeper' has no attribute 'runn'"):
        sweeper.runn  # noqa: B018


def test_version_is_the_distributions():
    from importlib.metadata import version

    assert sweeper.__version__ == version(DISTRIBUTION)


def test_mapping_is_run_resumed_and_read_where_the_variables_say(folder, monkeypatch, empty_database):
    monkeypatch.setenv("SWEEPER_HOME", str(folder / "mine"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/team.db")
    shutil.copy(empty_database, folder / "team.db")
    summary = sweeper.run(SPEC, executor=InlineExecutor(), progress=False)
    assert isinstance(summary, sweeper.Summary)
    assert (summary.counts.complete, summary.is_finished) == (2, True)
    assert Home(folder / "mine").sweeps() == ["mapped"]
    assert not (folder / "sweeps").exists()
    loaded = sweeper.load_sweep("mapped")
    assert isinstance(loaded, sweeper.LoadedSweep)
    assert loaded.front().num_rows == summary.fronts[0].table.num_rows
    assert loaded.spec_text == sweeper.load_spec(SPEC).text
    assert sweeper.resume("mapped", executor=InlineExecutor(), progress=False).counts == summary.counts


def test_argument_goes_before_a_variable_and_an_empty_variable_says_nothing(folder, monkeypatch):
    monkeypatch.setenv("SWEEPER_HOME", "elsewhere")
    sweeper.run(SPEC, home="named", **here())
    assert Home(folder / "named").sweeps() == ["mapped"]
    monkeypatch.setenv("SWEEPER_HOME", "")
    sweeper.run(SPEC, **here())
    assert Home(folder / "sweeps").sweeps() == ["mapped"]
    assert not (folder / "elsewhere").exists()


def test_failed_trials_are_raised_with_the_summary():
    with pytest.raises(TrialsFailedError, match=r"'mapped' has ended, but 2 of 2 trials have failed") as caught:
        sweeper.run(SPEC, **here(executor=Failing()))
    assert caught.value.summary.counts.failed == 2


def test_interrupted_sweep_is_raised_and_goes_on_when_it_is_resumed():
    spec = SPEC | {"placement": {"population": 1}}
    with pytest.raises(SweepInterruptedError, match=r"2 of 2 trials have no outcome.*sweeper\.resume\('mapped'\)"):
        sweeper.run(spec, **here(executor=Stopping()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sweeper.resume("mapped", **here()).counts.complete == 2


def test_sweep_runs_in_another_thread_too():
    ended = []
    thread = threading.Thread(target=lambda: ended.append(sweeper.run(SPEC, **here())))
    thread.start()
    thread.join()
    assert ended[0].counts.complete == 2


def test_what_the_command_line_refuses_is_raised_and_nothing_is_made(folder):
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(SpecError, match=rf"workers must be a whole number of at least 1, but got {wrong}"):
            sweeper.run(SPEC, workers=wrong)
        with pytest.raises(SpecError, match="workers must be"):
            sweeper.plan(SPEC, workers=wrong)
    with pytest.raises(UnknownSweepError, match="'never'"):
        sweeper.resume("never")
    with pytest.raises(SpecError, match="does not exist"):
        sweeper.run("nowhere.yaml")
    with pytest.raises(SpecError, match=r"channels.* in the given mapping, lattice\.channels"):
        sweeper.run(SPEC | {"lattice": {"channels": 0, "layers": 1, "steps": 2}})
    assert list(folder.iterdir()) == []


def test_progress_is_shown_on_the_error_output(capsys):
    sweeper.run(SPEC, **here(progress=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2/2 trials done" in shown.err


def test_plan_counts_without_writing(folder):
    estimate = sweeper.plan("smoke", workers=2)
    assert isinstance(estimate, sweeper.Estimate)
    assert sum(estimate.cells.values()) == 8
    assert list(folder.iterdir()) == []


def test_network_of_a_trial_is_loaded_and_answers():
    summary = sweeper.run(SPEC, **here())
    key = summary.fronts[0].table["key"][0].as_py()
    network = sweeper.load_network(find_network(Home(Path("sweeps")), key).path)
    assert isinstance(network, sweeper.Network)
    assert network.description["key"] == key
    assert network(torch.rand(3, 1, 8, 8)).log_probs.shape == (3, 10)


def test_other_recorders_and_readers_are_as_good_as_mlflows():
    recorder = MemoryRecorder()
    summary = sweeper.run(SPEC, **here(recorder=recorder))
    loaded = sweeper.LoadedSweep(MemoryReader(recorder, "mapped"))
    assert loaded.front().equals(summary.fronts[0].table)
    assert loaded.spec["name"] == "mapped"
