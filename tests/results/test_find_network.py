"""Networks are found by key: which trial is meant, and the message if there is no network."""

from __future__ import annotations

import re
import shutil

import pytest
import torch

from sweeper import model
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, NoNetworkError, QueryError, TrackingError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.results import find_network as networks
from sweeper.results.find_network import find_network, network_content
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.trial import Ended, Outcome

ENDS = {
    "complete": Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "breadth": 1, "depth": 1, "time": 2}),
    "not finite": Ended(Outcome.NOT_FINITE, "loss became NaN in epoch 2"),
    "failed": Ended(Outcome.FAILED, "Traceback:\n  line\nValueError: no such layer\n"),
}


class Idle(InlineExecutor):
    """An executor that runs nothing, so that planned trials wait."""

    def run(self, work, source, request):
        pass


def run(home, name, ends=("complete",), executor=None, recorder=None):
    """Run a sweep whose trials end in the given ways, in turn; each complete trial leaves a small network."""
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
        recorder=recorder or MemoryRecorder(),
        work=work,
        workers=4,
    )
    return Ledger(home.sweep(name).ledger_url, name).records()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two sweeps of the same settings: one ended in every way, one stopped before the first outcome."""
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
        assert find_network(home, key[:6], name).path == home.sweep(name).network_here(key)


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
    with pytest.raises(HomeError, match="'torn' is damaged"):
        find_network(home, "ffffffff")


def test_found_network_answers(home):
    network = model.load(find_network(home, of_outcome(home, Outcome.COMPLETE).key).path)
    assert network(torch.zeros(3, 1, 4, 4)).log_probs.shape == (3, 2)


# Networks of another machine, from MLflow


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, empty_database):
    """A home with a mirrored sweep that stands for another machine's, and the keys that MLflow has."""
    home = Home(tmp_path_factory.mktemp("elsewhere"))
    shutil.copy(empty_database, home.root / "mlflow.db")
    folder = home.sweep("far")

    def stored(key):
        return folder.network_here(key).read_bytes()

    run(home, "far", ["complete", "failed"], recorder=MlflowRecorder(home.tracking_uri, network=stored))
    keys = MlflowReader(home.tracking_uri, "far").networks().keys
    assert keys == sorted(record.key for record in records(home, "far") if record.outcome is Outcome.COMPLETE)
    return home, keys


@pytest.mark.parametrize("length", [6, 16])
def test_network_that_the_home_lacks_is_read_from_mlflow(elsewhere, home, tmp_path, length):
    far, keys = elsewhere
    for here in (Home(tmp_path), home):
        before = sorted(here.root.rglob("*"))
        found = network_content(here, keys[0][:length], "far", far.tracking_uri)
        assert (found.key, found.sweep) == (keys[0], "far")
        assert found.data == far.sweep("far").network_here(keys[0]).read_bytes()
        assert sorted(here.root.rglob("*")) == before


def test_network_that_the_home_has_is_never_asked_for(home):
    key = of_outcome(home, Outcome.COMPLETE).key
    found = network_content(home, key[:8], "mixed", "http://127.0.0.1:9")
    assert found.data == home.sweep("mixed").network_here(key).read_bytes()
    assert found.name == str(home.sweep("mixed").network_here(key))


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_network_whose_file_is_gone_is_read_from_mlflow(elsewhere, tmp_path, harm):
    far, keys = elsewhere
    shutil.copytree(far.root, tmp_path / "copy")
    copy = Home(tmp_path / "copy")
    path = copy.sweep("far").network_here(keys[0])
    path.unlink() if harm == "removed" else path.write_bytes(b"torn")
    with pytest.raises((NoNetworkError, HomeError), match=keys[0]):
        network_content(copy, keys[0], "far")
    assert network_content(copy, keys[0], "far", far.tracking_uri).data == stored_in(far, keys[0])


def stored_in(home, key):
    return home.sweep("far").network_here(key).read_bytes()


def test_key_that_neither_home_nor_mlflow_knows_is_said_of_both(elsewhere, home, tmp_path):
    far, keys = elsewhere
    with pytest.raises(
        UnknownSweepError, match=rf"no sweep 'far' in the home {tmp_path}.*'far' it has {len(keys)} networks"
    ):
        network_content(Home(tmp_path), "ffffffff", "far", far.tracking_uri)
    failed = next(record for record in records(far, "far") if record.outcome is Outcome.FAILED)
    said = f"ended as failed .*no such layer.*{far.root}/mlflow.db has not got it either.*`sweeper pareto far"
    with pytest.raises(NoNetworkError, match=said):
        network_content(far, failed.key, "far", far.tracking_uri)


def test_name_of_a_sweep_where_a_key_is_wanted_is_recognised(elsewhere):
    far, _ = elsewhere
    with pytest.raises(QueryError, match=r"'far' is a sweep, and .* the key of one of its trials.*far` list keys\.$"):
        network_content(far, "far")


def test_sweep_must_be_named_to_look_in_mlflow(elsewhere, tmp_path):
    far, keys = elsewhere
    with pytest.raises(
        UnknownSweepError, match=rf"'{keys[0]}'.*its sweep with --sweep, to look in MLflow at .*mlflow.db"
    ):
        network_content(Home(tmp_path), keys[0], None, far.tracking_uri)
    with pytest.raises(UnknownSweepError, match=r"'nosuch'.*known: far"):
        network_content(Home(tmp_path), keys[0], "nosuch", far.tracking_uri)


def test_beginning_of_several_stored_keys_is_refused_with_their_number(elsewhere, tmp_path, monkeypatch):
    far, keys = elsewhere
    monkeypatch.setattr(networks, "SHORTEST_KEY", 0)
    with pytest.raises(QueryError, match=f"'' begins the keys of {len(keys)} trials .*sweep 'far' in MLflow"):
        network_content(Home(tmp_path), "", "far", far.tracking_uri)


@pytest.mark.parametrize("key", ["abcde", "../../"])
def test_key_that_is_none_is_refused_before_mlflow_is_asked(tmp_path, key):
    with pytest.raises((QueryError, UnknownSweepError), match=re.escape(repr(key))):
        network_content(Home(tmp_path), key, None, "http://127.0.0.1:9")


def test_stored_network_that_is_damaged_is_refused_with_its_key(elsewhere, tmp_path):
    far, keys = elsewhere
    (stored,) = (path for path in (far.root / "artifacts").rglob(f"{keys[-1]}.safetensors"))
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-3])
    try:
        with pytest.raises(
            TrackingError, match=rf"{keys[-1]} in MLflow at .* cannot be used: it is cut off.*mirror far"
        ):
            network_content(Home(tmp_path), keys[-1], "far", far.tracking_uri)
    finally:
        stored.write_bytes(whole)


def test_credentials_of_a_tracking_server_are_never_said(tmp_path):
    with pytest.raises(UnknownSweepError, match="at http") as refused:
        network_content(Home(tmp_path), "ffffffff", None, "http://me:secret@127.0.0.1:9")
    assert "secret" not in str(refused.value)
