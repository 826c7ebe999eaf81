"""`sweeper clean` frees what nobody needs, and nothing that a resumed sweep needs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from sweeper import cache
from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.standing import standing_of
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.train import train_population
from sweeper.trial import Ended, Outcome
from sweeper.upkeep.archives import archive, unpacked
from sweeper.upkeep.cleaning import clean, cleaning_of
from tests.support.stuck import a_stuck_driver
from tests.upkeep.conftest import files_below, trained


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


def checkpoints(home, name):
    return sorted(path.name for path in (home.root / name / "checkpoints").glob("*.pt"))


def run(home, name, work=train_population, again=(), until=None):
    """Run a sweep of several populations; `until` stops it after so many of them; return the jobs."""
    loaded = load_spec("smoke", name=name)
    calls = []

    def counted(job, report):
        calls.append(job)
        return work(job, report)

    Sweep(name, home.root).run(
        loaded,
        executor=InlineExecutor(),
        recorder=MemoryRecorder(),
        work=counted,
        again=again,
        should_stop=lambda: until is not None and len(calls) >= until,
    )
    return calls


def test_checkpoints_of_a_finished_sweep_are_freed_and_every_promise_still_holds(sweeper, home):
    before = files_below(home.root)
    freed = {path: data for path, data in before.items() if "/checkpoints/" in path}
    assert freed
    code, out, err = sweeper("clean", "--home", home.root, "--yes")
    assert (code, err) == (0, "")
    assert "checkpoints of sweep first, which is finished" in out
    after = files_below(home.root)
    assert after == {path: data for path, data in before.items() if path not in freed}
    assert all(one.holds for one in audit(home.known("first"), home.tracking_uri))
    assert cleaning_of(home).pieces == []
    assert sweeper("clean", "--home", home.root)[:2] == (0, "there is nothing to free\n")


def test_size_that_is_said_is_the_size_that_is_freed(home):
    torn = home.root / "first" / "networks" / f"a.safetensors.{'0' * 32}.tmp"
    torn.write_bytes(bytes(1234))
    (home.root / "first" / "placement" / "deep").mkdir(parents=True)
    (home.root / "first" / "placement" / "deep" / "log").write_bytes(bytes(99))
    before = sum(map(len, files_below(home.root).values()))
    cleaning = cleaning_of(home, "first")
    clean(cleaning)
    assert before - sum(map(len, files_below(home.root).values())) == cleaning.size > 1234 + 99
    assert not torn.exists()
    assert checkpoints(home, "second"), "one sweep alone was named"


@pytest.mark.parametrize("words", [("--dry-run",), ("--dry-run", "--yes"), ()])
def test_nothing_is_freed_before_it_is_agreed(sweeper, home, words):
    before = files_below(home.root)
    code, out, _ = sweeper("clean", "--home", home.root, *words)
    assert code == (0 if words else 2)
    assert "can be freed" in out
    assert files_below(home.root) == before


def test_interrupted_sweep_keeps_all_and_ends_as_it_would_have(home, tmp_path):
    run(home, "third", until=1)
    kept = files_below(home.root / "third")
    cleaning = cleaning_of(home)
    clean(cleaning)
    assert files_below(home.root / "third") == kept
    assert any("third" in said and "interrupted" in said for said in cleaning.kept)
    assert cleaning_of(home, "third").pieces == []


@pytest.mark.slow
def test_running_sweep_keeps_all(home):
    with a_stuck_driver(home.root, "stuck"):
        cleaning = cleaning_of(home)
        assert any("stuck: it is running" in said for said in cleaning.kept)
        assert not [piece for piece in cleaning.pieces if piece.sweep and piece.sweep.name == "stuck"]


def test_populations_with_failed_trials_keep_the_checkpoints_that_they_would_go_on_from(home):
    def work(job, report):
        ended = train_population(job, report)
        tried.append(job)
        return ended if job.key != tried[0].key else [Ended(Outcome.TIMED_OUT, "late", is_final=True)] * len(ended)

    tried = []
    run(home, "third", work)
    assert standing_of(home.known("third")).counts.outcomes["timed_out"]
    lost = Path(tried[0].checkpoint).stem
    assert len({name.partition(".")[0] for name in checkpoints(home, "third")}) > 1
    clean(cleaning_of(home, "third"))
    assert {name.partition(".")[0] for name in checkpoints(home, "third")} == {lost}
    run(home, "third", again=("timed_out",))
    clean(cleaning_of(home, "third"))
    assert checkpoints(home, "third") == []


def test_sweep_that_goes_on_after_it_was_looked_at_keeps_what_it_needs(home):
    run(home, "third")
    cleaning = cleaning_of(home, "third")
    before = checkpoints(home, "third")
    with home.sweep("third").drive():
        stays = clean(cleaning)
    assert checkpoints(home, "third") == before
    assert any("being driven" in said for said in stays)


def test_checkpoints_outside_of_the_home_are_freed_on_request_alone(home, tmp_path):
    folder = tmp_path / "storage"
    trained(tmp_path, "third", home.root, storage=str(folder))
    cleaning = cleaning_of(home, "third")
    assert any("--outside" in said for said in cleaning.kept)
    before = files_below(folder)
    clean(cleaning)
    assert files_below(folder) == before
    clean(cleaning_of(home, "third", outside=True))
    assert files_below(folder) == {path: data for path, data in before.items() if "/checkpoints/" not in path}


def test_cache_loses_what_is_made_again_and_nothing_else(home, finished, tmp_path, own_cache):
    archive(Home(finished), "first", tmp_path / "first.zip")
    folder = unpacked(tmp_path / "first.zip")
    (own_cache / "mlflow-0123456789abcdef.db").write_bytes(bytes(10))
    (own_cache / "notes.txt").write_text("mine")
    (own_cache / "mine").mkdir()
    (own_cache / "mine" / "a.db").write_text("mine")
    clean(cleaning_of(home))
    assert not (own_cache / "mlflow-0123456789abcdef.db").exists()
    assert folder.is_dir(), "somebody may read it just now"
    long_ago = time.time() - 7200
    os.utime(folder.parent, (long_ago, long_ago))
    clean(cleaning_of(home))
    assert not folder.exists()
    assert sorted(files_below(own_cache)) == ["mine/a.db", "notes.txt"]
    assert unpacked(tmp_path / "first.zip") == folder


def test_sweep_that_cannot_be_read_is_left_and_the_others_are_cleaned(home):
    (home.root / "first" / "ledger.db").write_bytes(b"")
    before = files_below(home.root / "first")
    cleaning = cleaning_of(home)
    clean(cleaning)
    assert any("damaged" in said for said in cleaning.kept)
    assert files_below(home.root / "first") == before
    assert checkpoints(home, "second") == []
    with pytest.raises(HomeError, match="damaged"):
        cleaning_of(home, "first")
    with pytest.raises(UnknownSweepError):
        cleaning_of(home, "nobody")
    shutil.rmtree(home.root / "first")
