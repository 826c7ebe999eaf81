"""Networks are found by key: which trial is meant, and what is said where there is no network."""

from __future__ import annotations

import re

import pytest
import torch

import model
from sweeper import networks
from sweeper.errors import HomeError, NoNetworkError, QueryError, UnknownSweepError
from sweeper.execute import InlineExecutor
from sweeper.home import Home
from sweeper.networks import find_network
from sweeper.plan import Ledger
from sweeper.record import MemoryRecorder
from sweeper.spec import load_spec
from sweeper.sweep import Sweep
from sweeper.vocabulary import Ended, Outcome

ENDS = {
    "complete": Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "breadth": 1, "depth": 1, "time": 2}),
    "not finite": Ended(Outcome.NOT_FINITE, "loss became NaN in epoch 2"),
    "failed": Ended(Outcome.FAILED, "Traceback:\n  line\nValueError: no such layer\n"),
}


class Idle:
    """An executor that runs nothing: what is planned waits."""

    def run(self, work, source):
        pass


def run(home, name, ends=("complete",), executor=None):
    """Run a sweep whose trials end as said, in turn, and leave a small network where they are complete."""
    told = []

    def work(job, report):
        outcomes = []
        for key, file, is_wanted in zip(job.keys, job.networks, job.wanted, strict=True):
            if is_wanted:
                ended = ENDS[ends[len(told) % len(ends)]]
                told.append(key)
                outcomes.append(ended)
                if ended.outcome is Outcome.COMPLETE:
                    model.save(model.Lattice(model.Window((2,), 2, (1, 4, 4), 2), [0]), {"key": key, "of": name}, file)
        return outcomes

    Sweep(name, home.root).run(
        load_spec("smoke", name=name),
        executor=executor or InlineExecutor(),
        recorder=MemoryRecorder(),
        work=work,
        workers=4,
    )
    return Ledger(home.sweep(name).ledger_url, name).records()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two sweeps of the same settings: ended in every way; stopped before the first outcome."""
    home = Home(tmp_path_factory.mktemp("home"))
    run(home, "mixed", ["not finite", "failed", "complete"])
    run(home, "stopped", executor=Idle())
    return home


def records(home, name):
    return Ledger(home.sweep(name).ledger_url, name).records()


def of_outcome(home, outcome):
    return next(record for record in records(home, "mixed") if record.outcome is outcome)


@pytest.mark.parametrize("length", [6, 9, 16])
def test_network_is_found_by_its_key_and_by_a_beginning_of_it(home, length):
    record = of_outcome(home, Outcome.COMPLETE)
    for sweep in (None, "mixed"):
        found = find_network(home, record.key[:length], sweep)
        assert (found.key, found.sweep) == (record.key, "mixed")
        assert model.load(found.path).description["key"] == record.key


def test_setting_in_several_sweeps_is_the_one_that_is_complete(home):
    key = of_outcome(home, Outcome.COMPLETE).key
    assert key in {record.key for record in records(home, "stopped")}
    assert find_network(home, key).sweep == "mixed"


def test_trial_that_is_complete_in_two_sweeps_must_be_named_with_its_sweep(tmp_path):
    home = Home(tmp_path)
    key = run(home, "one")[0].key
    run(home, "two")
    with pytest.raises(QueryError, match=rf"{key} is complete in several sweeps \(one, two\).*--sweep"):
        find_network(home, key)
    for name in ("one", "two"):
        assert model.load(find_network(home, key, name).path).description["of"] == name
        assert Sweep(name, home.root).network_file(key[:6]) == home.sweep(name).network_here(key)


def test_unknown_key_is_refused_with_the_sweeps_looked_through(home):
    with pytest.raises(UnknownSweepError, match=r"begins with 'ffffffff' in .*mixed, stopped\).*--home"):
        find_network(home, "ffffffff")
    with pytest.raises(UnknownSweepError, match=r"looked through: stopped\)"):
        find_network(home, "ffffffff", "stopped")


def test_home_without_sweeps_and_unknown_sweep_are_refused(home, tmp_path):
    with pytest.raises(UnknownSweepError, match="looked through: none"):
        find_network(Home(tmp_path), "ffffffff")
    with pytest.raises(UnknownSweepError, match="no sweep 'other'"):
        find_network(home, "ffffffff", "other")


@pytest.mark.parametrize("key", ["", "abcde"])
def test_key_that_is_too_short_is_refused(home, key):
    with pytest.raises(QueryError, match=f"at least 6 characters of its key, but got '{key}'"):
        find_network(home, key)


def test_beginning_of_several_keys_is_refused_with_their_number(home, monkeypatch):
    monkeypatch.setattr(networks, "SHORTEST_KEY", 0)
    everyone = len(records(home, "mixed"))
    with pytest.raises(QueryError, match=f"'' begins the keys of {everyone} trials"):
        find_network(home, "", "mixed")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.NOT_FINITE, "ended as not_finite and left no network: loss became NaN in epoch 2. `sweeper pareto mixed`"),
        (Outcome.FAILED, "ended as failed and left no network: ValueError: no such layer. `sweeper pareto mixed`"),
    ],
)  # fmt: skip
def test_trial_that_is_not_complete_says_how_it_ended(home, outcome, said):
    with pytest.raises(NoNetworkError, match=re.escape(said)) as refused:
        find_network(home, of_outcome(home, outcome).key, "mixed")
    assert "\n" not in str(refused.value)


def test_trial_that_has_not_ended_says_how_to_go_on(home):
    with pytest.raises(NoNetworkError, match=r"has not ended yet.*`sweeper resume stopped`"):
        find_network(home, records(home, "stopped")[0].key, "stopped")


def test_network_that_is_missing_or_damaged_is_refused_with_its_file(tmp_path):
    home = Home(tmp_path)
    key = run(home, "one")[0].key
    path = home.sweep("one").network_here(key)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(HomeError, match=rf"{key} of sweep 'one' cannot be used: {path} is cut off.*Restore.*--name"):
        find_network(home, key)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(HomeError, match=f"{path} is damaged: its checksum"):
        find_network(home, key)
    path.unlink()
    with pytest.raises(NoNetworkError, match=f"{key} of sweep 'one' is not at {path}.*--name"):
        find_network(home, key)


def test_ledger_that_cannot_be_read_hides_no_trial_of_another_sweep(tmp_path):
    home = Home(tmp_path)
    key = run(home, "whole")[0].key
    torn = home.sweep("torn")
    torn.path.mkdir()
    (torn.path / "ledger.db").write_bytes(b"no database" * 100)
    assert find_network(home, key).sweep == "whole"
    with pytest.raises(HomeError, match="'torn' cannot be opened"):
        find_network(home, "ffffffff")


def test_found_network_answers(home):
    network = model.load(find_network(home, of_outcome(home, Outcome.COMPLETE).key).path)
    assert network(torch.zeros(3, 1, 4, 4)).log_probs.shape == (3, 2)
