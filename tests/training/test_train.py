"""A worker's training of a job: pauses, stopped members, a time limit, and checkpoints that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper import model, storage
from sweeper.driver.retry import failed_together
from sweeper.job import Job, Lease
from sweeper.measurements import DECIDING, WALLS
from sweeper.model.checkpoint import load_state, save_state
from sweeper.spec import load_spec
from sweeper.training.checkpoints import Checkpoints, beside
from sweeper.training.train import SupersededError, train_population
from sweeper.trial import Outcome


@pytest.fixture
def job(tmp_path):
    """A population of the smoke sweep's first task, of three epochs."""
    settings = [setting for setting in load_spec("smoke").spec.settings() if setting.task.classes == 2]
    keys = tuple(setting.key for setting in settings)
    return Job(
        key="population",
        task="digits-2",
        keys=keys,
        settings=tuple(setting.flat() for setting in settings),
        wanted=(True,) * len(keys),
        checkpoint=str(tmp_path / "checkpoints" / "population.pt"),
        networks=tuple(str(tmp_path / "networks" / f"{key}.safetensors") for key in keys),
    )


def work(job, **how):
    """Return the ends of a job's members, and every reported progress."""
    seen = []
    return train_population(job, seen.append, **how), seen


def notes_in(seen):
    return [note for progress in seen for note in progress.notes]


def kept(job):
    """Return the epoch of each checkpoint file, None where it is torn or missing."""
    epochs = []
    for path in (Path(job.checkpoint), Path(beside(job.checkpoint))):
        try:
            state = load_state(path.read_bytes())
        except (model.CheckpointError, FileNotFoundError):
            state = None
        epochs.append(state["epoch"] if state else None)
    return epochs


class Clock:
    """A clock that moves by one second at each call."""

    def __init__(self):
        self.now = -1.0

    def __call__(self):
        self.now += 1
        return self.now


# Pauses and stopped members


def test_job_that_pauses_measures_every_member_and_ends_as_one_that_did_not(job, tmp_path):
    whole, _ = work(replace(job, checkpoint=""))
    paused, seen = work(replace(job, until=2, networks=()))
    assert [progress.epoch for progress in seen] == [1, 2]
    assert {progress.epochs for progress in seen} == {3}
    for member in paused:
        assert (member.outcome, member.reason) == (None, "")
        sometimes = {"steps_by_confidence"}  # where steps differ between images
        expected = {*DECIDING, *WALLS} - sometimes
        assert member.measurement.keys() - sometimes == expected, "what has only paused is not tested"
        assert [point["epoch"] for point in member.curve] == [1, 2]
        assert len(member.details["channels_per_layer"]) == member.measurement["depth"]
    again, nothing = work(replace(job, until=2))
    assert (again, nothing) == (paused, [])
    rest, seen = work(job)
    assert rest == whole
    assert [progress.epoch for progress in seen] == [3]


def test_network_is_written_for_members_that_are_complete_and_not_at_a_pause(job):
    work(replace(job, until=1))
    assert not Path(job.networks[0]).parent.exists()
    ended, _ = work(replace(job, until=3, wanted=(True, False, True, False)))
    assert [member.outcome for member in ended] == [Outcome.COMPLETE] * 2
    assert [Path(network).is_file() for network in job.networks] == [True, False, True, False]


def test_pause_behind_the_end_is_the_end(job):
    whole, _ = work(replace(job, checkpoint=""))
    assert work(replace(job, until=99))[0] == whole


def test_members_that_are_left_of_a_job_complete_and_report_alone(job):
    work(replace(job, until=1))
    rest = replace(job, wanted=(True, False, False, False), stopped=(False, True, True, True))
    ended, seen = work(rest)
    assert [member.outcome for member in ended] == [Outcome.COMPLETE]
    assert [len(progress.values) for progress in seen] == [1, 1]
    assert [Path(network).is_file() for network in job.networks] == [True, False, False, False]
    state = load_state(Path(job.checkpoint).read_bytes())
    assert [shard["members"] for shard in state["shards"]] == [[0]]
    assert work(rest)[0] == ended


def test_trial_that_is_wanted_and_stopped_is_refused_and_is_no_outcome(job):
    with pytest.raises(ValueError, match=f"both wanted and stopped: {job.keys[1]}$"):
        work(replace(job, wanted=(True, True, False, False), stopped=(False, True, True, False)))


def test_member_that_is_not_finite_at_a_pause_has_its_outcome(job):
    loud = tuple({**setting, "task.noise": 1e39} for setting in job.settings)
    ended, _ = work(replace(job, settings=loud, until=2))
    assert {member.outcome for member in ended} == {Outcome.NOT_FINITE}
    assert all("NaN" in member.reason for member in ended)


# Time limits


@pytest.mark.parametrize("limit", [0.5, 1.5, 2.5])
def test_training_that_is_longer_than_its_limit_ends_timed_out_with_what_it_had(job, limit):
    """The clock reads 0 at the start and one second more before each epoch, which is one segment."""
    ended, seen = work(replace(job, time_limit_s=limit, wanted=(True, False, True, False)), clock=Clock())
    epochs = int(limit)
    assert [progress.epoch for progress in seen] == list(range(1, epochs + 1))
    for member in ended:
        assert member.outcome is Outcome.TIMED_OUT
        assert f"limit of {limit:g} s" in member.reason
        assert f"interrupted in epoch {epochs + 1} of 3" in member.reason
        assert [point["epoch"] for point in member.curve] == list(range(1, epochs + 1))
        assert member.measurement.keys() == {"loss", "accuracy", "time", "breadth", "depth", "channels"}
        if member.curve:
            assert {"epoch": epochs, **member.measurement} == member.curve[-1]
    assert len(ended) == 2
    assert not Path(job.networks[0]).parent.exists()


def test_training_that_keeps_within_its_limit_is_complete(job):
    ended, _ = work(replace(job, time_limit_s=3.5), clock=Clock())
    assert {member.outcome for member in ended} == {Outcome.COMPLETE}


def test_time_before_a_pause_counts_for_that_job_only(job):
    for until in (1, 2):
        paused, _ = work(replace(job, until=until, time_limit_s=1.5), clock=Clock())
        assert {member.outcome for member in paused} == {None}
    assert {member.outcome for member in work(replace(job, time_limit_s=1.5), clock=Clock())[0]} == {Outcome.COMPLETE}


def test_member_that_is_not_finite_is_not_called_timed_out(job):
    loud = tuple({**setting, "task.noise": 1e39} for setting in job.settings)
    ended, _ = work(replace(job, settings=loud, time_limit_s=1.5), clock=Clock())
    assert {member.outcome for member in ended} == {Outcome.NOT_FINITE}


# Checkpoints that cannot be used


class KilledError(Exception):
    """Stands for any sudden end of a worker."""


def killed(job, after):
    """Train a job and end its worker after an epoch."""

    def report(progress):
        if progress.epoch == after:
            raise KilledError

    with pytest.raises(KilledError):
        train_population(job, report)


def newest(job):
    """Return the newest checkpoint file, and the other one."""
    files = [job.checkpoint, beside(job.checkpoint)]
    return files if kept(job)[0] == max(epoch or 0 for epoch in kept(job)) else files[::-1]


def test_the_last_two_states_are_kept_and_never_written_over_the_newest(job):
    seen = []
    train_population(job, lambda _: seen.append(kept(job)))
    assert seen == [[1, None], [1, 2], [3, 2]]


@pytest.mark.parametrize("after", [2, 3])
@pytest.mark.parametrize("damage", ["torn", "garbage", "foreign", "gone"])
def test_newest_checkpoint_that_cannot_be_used_costs_an_epoch_and_changes_no_result(job, after, damage):
    whole, _ = work(replace(job, checkpoint="", networks=()))
    killed(job, after)
    file, _ = newest(job)
    state = load_state(Path(file).read_bytes())
    if damage == "torn":
        Path(file).write_bytes(Path(file).read_bytes()[:1000])
    elif damage == "garbage":
        Path(file).write_bytes(b"garbage")
    elif damage == "foreign":
        Path(file).write_bytes(save_state({**state, "lost_at": [None]}))
    else:
        Path(file).unlink()
    ended, seen = work(job)
    assert ended == whole
    assert [progress.epoch for progress in seen if progress.values[0]] == list(range(after, 4))
    notes = [note for note in notes_in(seen) if "population population" in note]
    if damage == "gone":
        assert notes == []
    else:
        (note,) = notes
        assert note.endswith(f"goes on from its other checkpoint, of epoch {after - 1}")
        assert "1 members" in note if damage == "foreign" else file in note
    assert sorted(kept(job)) == [2, 3]


def test_population_both_of_whose_checkpoints_are_torn_starts_anew_and_both_are_named(job):
    whole, _ = work(replace(job, checkpoint="", networks=()))
    killed(job, 2)
    for file in newest(job):
        Path(file).write_bytes(b"garbage")
    ended, seen = work(job)
    assert ended == whole
    (note,) = notes_in(seen)
    assert note.endswith("starts anew")
    assert all(file in note for file in newest(job))


def test_checkpoint_that_cannot_be_used_at_a_pause_is_said_though_no_epoch_is_trained(job):
    work(replace(job, until=2))
    Path(job.checkpoint).write_bytes(b"garbage")
    _, seen = work(replace(job, until=2))
    ((epoch, note),) = [(progress.epoch, note) for progress in seen for note in progress.notes]
    assert epoch == 2
    assert note.endswith("of epoch 2")


def test_state_that_could_not_be_written_leaves_the_newest_one(job):
    checkpoints = Checkpoints(job.checkpoint)
    checkpoints.save({"epoch": 1})
    Path(beside(job.checkpoint)).mkdir()
    with pytest.raises(OSError, match="other"):
        checkpoints.save({"epoch": 2})
    assert [state["epoch"] for state in Checkpoints(job.checkpoint).states([])] == [1]


@pytest.mark.parametrize(
    ("location", "other"),
    [
        ("/home/a.b/population.pt", "/home/a.b/population.other.pt"),
        ("population", "population.other"),
        ("/home/a.b/population", "/home/a.b/population.other"),
        ("s3://bucket/a/p.pt?region=eu-west.1", "s3://bucket/a/p.other.pt?region=eu-west.1"),
    ],
)
def test_other_file_of_a_population_is_beside_the_first(location, other):
    assert beside(location) == other


# --- leases and devices -----------------------------------------------------------------------------


def held(job, folder, holder):
    """Return a job whose lease file, in a folder, names a holder."""
    lease = Lease(storage.join(str(folder), "leases", "population.json"), "first")
    storage.write_bytes(lease.path, json.dumps({"session": holder}).encode())
    return replace(job, lease=lease)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_worker_whose_population_was_handed_out_again_stops_before_it_writes(job, tmp_path, form):
    job = held(job, storage.rooted(form.format(tmp_path)), "second")
    with pytest.raises(SupersededError, match="first was taken over by second"):
        work(job)
    assert kept(job) == [None, None]


def test_worker_stops_at_the_next_epoch_after_its_population_was_handed_out_again(job, tmp_path):
    job, epochs = held(job, tmp_path, "first"), []

    def cut_off(progress):
        epochs.append(progress.epoch)
        held(job, tmp_path, "second")

    with pytest.raises(SupersededError):
        train_population(job, cut_off)
    assert epochs == [1]
    assert kept(job) == [1, None]
    assert not (tmp_path / "networks").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null"])
def test_lease_that_cannot_be_read_stops_nobody(job, tmp_path, content):
    job = held(job, tmp_path, "first")
    Path(job.lease.path).write_bytes(content)
    ended, _ = work(job)
    assert {member.outcome for member in ended} == {Outcome.COMPLETE}


def test_worker_that_does_not_see_what_its_driver_has_written_trains_nothing(job, tmp_path):
    job = held(job, tmp_path, "first")
    Path(job.lease.path).unlink()
    ended, seen = work(job)
    assert seen == []
    assert {member.outcome for member in ended} == {Outcome.LOST}
    assert f"the file {job.lease.path}, which the driver has just written, is missing" in ended[0].reason
    assert "--storage" in ended[0].reason
    assert kept(job) == [None, None]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
def test_population_that_was_given_a_gpu_that_torch_cannot_use_ends_for_good_and_says_why(job):
    ended, seen = work(replace(job, device="cuda"))
    assert seen == []
    assert failed_together(ended) is None, "it must not be tried again"
    for member in ended:
        assert member.outcome is Outcome.FAILED
        assert "was given a GPU that torch cannot use on " in member.reason
        assert "set placement.gpus to 0" in member.reason
        assert "Traceback" not in member.reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no GPU here")
@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_population_goes_on_elsewhere_from_a_checkpoint_of_another_kind_of_device(job, first, second):
    half, _ = work(replace(job, device=first, until=2))
    assert {member.outcome for member in half} == {None}
    ended, seen = work(replace(job, device=second))
    assert [progress.epoch for progress in seen] == [3]
    assert notes_in(seen) == []
    assert {member.outcome for member in ended} == {Outcome.COMPLETE}
    assert all(Path(path).is_file() for path in job.networks)


def test_setting_that_is_feed_forward_trains_networks_without_recurrent_weights(job):
    changed = {"lattice.bottom_up": "next", "lattice.connections": "feed_forward"}
    ended, _ = work(replace(job, settings=tuple({**flat, **changed} for flat in job.settings)))
    assert {one.outcome for one in ended} == {Outcome.COMPLETE}
    for path in job.networks:
        assert model.load(path).window.connections == "feed_forward"
