"""Populations hold every setting once, evenly divided; and counts always add up."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.driver.needs import population_size
from sweeper.errors import SpecError
from sweeper.ledger.counts import Counts, count
from sweeper.ledger.populations import form_populations
from sweeper.measurements import Objective
from sweeper.spec import LatticeSetting, LatticeSpec, LatticeSweep, PlacementSpec, TaskSpec, TrainingSpec, load_spec
from sweeper.training.forecast import MemoryBudget
from sweeper.trial import Outcome, State, TrialRecord

# Few values of each parameter, so that some settings share a group and others do not.
SETTINGS = st.builds(
    LatticeSetting,
    task=st.builds(TaskSpec, classes=st.sampled_from([2, 3])),
    lattice=st.builds(LatticeSpec, steps=st.sampled_from([3, 6])),
    training=st.builds(TrainingSpec, epochs=st.sampled_from([1, 2])),
    time_pressure=st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4]),
    seed=st.integers(0, 20),
)
UNIQUE = st.lists(SETTINGS, unique_by=lambda setting: setting.key, max_size=40)
ADJACENT = UNIQUE.map(lambda settings: sorted(settings, key=lambda setting: setting.group_key))
SIZES = st.integers(1, 50)


def a_spec(settings_in_a_group=1, groups=1, population="auto"):
    """Return a spec whose settings fall into groups of equal size."""
    objective = Objective("accuracy", load_spec("smoke").spec.objectives[0].goal)
    axes = {
        "time_pressure": {"values": [number / 100 for number in range(settings_in_a_group)]},
        "steps": {"values": [3 + number for number in range(groups)]},
    }
    return LatticeSweep(
        name="s",
        parameters=axes,
        objectives=(objective,),
        reference_point={"accuracy": 0.0},
        placement=PlacementSpec(population=population),
    )


# --- populations ------------------------------------------------------------------------------------


@given(settings=UNIQUE, size=SIZES)
def test_populations_hold_every_setting_exactly_once_in_order(settings, size):
    populations = form_populations(settings, size)
    assert [setting for population in populations for setting in population.settings] == settings
    for population in populations:
        assert population.keys == tuple(setting.key for setting in population.settings)


@given(settings=UNIQUE, size=SIZES)
def test_population_is_never_empty_nor_larger_than_asked(settings, size):
    assert all(1 <= len(population.keys) <= size for population in form_populations(settings, size))


@given(settings=ADJACENT, size=SIZES)
def test_populations_of_one_group_differ_by_at_most_one_member_and_are_as_few_as_can_be(settings, size):
    populations = form_populations(settings, size)
    for _, group in groupby(populations, key=lambda population: population.settings[0].group_key):
        sizes = [len(population.keys) for population in group]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-sum(sizes) // size)


@given(settings=UNIQUE, size=SIZES)
def test_members_of_a_population_share_task_lattice_and_training(settings, size):
    for population in form_populations(settings, size):
        assert len({setting.group_key for setting in population.settings}) == 1
        assert {setting.task.label for setting in population.settings} == {population.task}


@given(settings=UNIQUE, size=SIZES)
def test_same_settings_form_the_same_populations_again(settings, size):
    copies = [LatticeSetting.from_flat(setting.flat()) for setting in settings]
    assert form_populations(copies, size) == form_populations(settings, size)


@given(settings=UNIQUE, size=SIZES)
def test_population_key_tells_populations_apart_and_ignores_the_order_of_members(settings, size):
    populations = form_populations(settings, size)
    assert len({population.key for population in populations}) == len(populations)
    for population in populations:
        (turned,) = form_populations(population.settings[::-1], size)
        assert turned.key == population.key


def test_populations_of_nothing_are_none():
    assert form_populations([], 4) == []


def test_ten_settings_in_populations_of_at_most_four_are_divided_evenly():
    populations = form_populations(a_spec(10).settings(), 4)
    assert [len(population.keys) for population in populations] == [3, 3, 4]


# --- their size -------------------------------------------------------------------------------------


def room(pixels=64, network_bytes=2**20, machine_bytes=2**44):
    return MemoryBudget(pixels, network_bytes, machine_bytes)


@given(members=st.integers(1, 60), groups=st.integers(1, 3), workers=st.integers(1, 50), pixels=st.integers(1, 3000))
def test_automatic_size_is_at_least_one_and_never_beyond_what_a_group_or_the_cache_holds(
    members, groups, workers, pixels
):
    size = population_size(a_spec(members, groups), workers, room(pixels))
    largest = 8 if pixels <= 100 else 4 if pixels <= 400 else 2
    assert 1 <= size <= min(largest, members)


@given(members=st.integers(1, 60), workers=st.integers(1, 49), pixels=st.sampled_from([64, 784]))
def test_automatic_size_never_grows_with_more_workers_or_larger_images(members, workers, pixels):
    spec = a_spec(members)
    size = population_size(spec, workers, room(pixels))
    assert population_size(spec, workers + 1, room(pixels)) <= size
    assert population_size(spec, workers, room(pixels + 1000)) <= size


def test_automatic_size_gives_every_worker_something_to_do():
    spec = a_spec(12)
    assert [population_size(spec, workers, room()) for workers in (1, 2, 5, 12, 100)] == [8, 6, 3, 1, 1]
    assert len(form_populations(spec.settings(), population_size(spec, 2, room()))) == 2


@given(asked=st.integers(1, 1000), workers=st.integers(1, 50), pixels=st.integers(1, 3000))
def test_size_given_as_a_number_stands(asked, workers, pixels):
    assert population_size(a_spec(population=asked), workers, room(pixels)) == asked


def test_automatic_size_is_what_fits_in_the_memory_of_a_worker():
    # Three quarters of 8 GiB, divided by two workers, less a worker's own memory, hold five networks each.
    assert population_size(a_spec(24), 2, room(network_bytes=500 * 2**20, machine_bytes=8 * 2**30)) == 5


@pytest.mark.parametrize("asked", [6, 24])
def test_population_that_does_not_fit_in_memory_is_refused_with_what_would(asked):
    told = rf"placement.population={asked} needs about .* GiB in each of 2 workers.*has 8.0 GiB. Use 5 or fewer"
    with pytest.raises(SpecError, match=told):
        population_size(a_spec(24, population=asked), 2, room(network_bytes=500 * 2**20, machine_bytes=8 * 2**30))


def test_network_that_fits_in_no_worker_is_refused_before_training():
    with pytest.raises(SpecError, match=r"population=auto needs about 9.0 GiB in each of 1 workers.*Use fewer workers"):
        population_size(a_spec(4), 1, room(network_bytes=9 * 2**30, machine_bytes=8 * 2**30))


# --- counts -----------------------------------------------------------------------------------------


def a_record(state, outcome=None):
    return TrialRecord(
        key="k",
        sweep="s",
        task="t",
        number=0,
        state=state,
        setting={},
        axes={},
        setting_key="sk",
        seed=0,
        population="p",
        outcome=outcome,
    )


def ended(outcome):
    return a_record(outcome.state, outcome)


WAITING, RUNNING = a_record(State.WAITING), a_record(State.RUNNING)
RECORDS = st.lists(st.sampled_from([WAITING, RUNNING, *map(ended, Outcome)]), max_size=50)


def assert_adds_up(counts):
    assert counts.planned == counts.complete + counts.pruned + counts.running + counts.waiting + counts.failed
    assert counts.complete == counts.outcomes["complete"]
    assert counts.failed == sum(n for kind, n in counts.outcomes.items() if kind not in {"complete", "pruned"})
    assert min(counts.complete, counts.running, counts.waiting, counts.failed) >= 0


@given(records=RECORDS)
def test_counts_of_any_trials_add_up(records):
    counts = count(records)
    assert_adds_up(counts)
    assert counts.planned == len(records)
    assert counts.outcomes == {str(kind): sum(r.outcome is kind for r in records) for kind in Outcome}


@given(records=RECORDS)
def test_counts_do_not_depend_on_the_order_of_trials(records):
    assert count(records[::-1]) == count(iter(records))


@given(records=RECORDS)
def test_counts_without_a_driver_wait_for_what_was_running(records):
    counts = count(records)
    left = counts.without_driver()
    assert_adds_up(left)
    assert (left.running, left.waiting) == (0, counts.waiting + counts.running)
    assert (left.planned, left.outcomes) == (counts.planned, counts.outcomes)
    assert left.without_driver() == left


@given(records=RECORDS, data=st.data())
def test_counts_that_follow_a_sweep_equal_counts_made_anew(records, data):
    """Start and end trials one by one: the running counts must equal a count of all trials."""
    counts = count(records)
    while counts.waiting or counts.running:
        if counts.running and (not counts.waiting or data.draw(st.booleans())):
            record = ended(data.draw(st.sampled_from(Outcome)))
            records[records.index(RUNNING)] = record
            counts = counts.ended(record)
        else:
            records[records.index(WAITING)] = RUNNING
            counts = counts.started(1)
        assert_adds_up(counts)
        assert counts == count(records)


def test_counts_change_only_by_making_new_ones():
    counts = count([WAITING, WAITING])
    before = replace(counts, outcomes=dict(counts.outcomes))
    counts.started(2).ended(ended(Outcome.LOST))
    assert counts == before


@pytest.mark.parametrize("outcome", list(Outcome))
def test_trial_that_ends_is_counted_under_its_own_outcome(outcome):
    counts = Counts(2, 0, 2, 0, dict.fromkeys(map(str, Outcome), 0)).ended(ended(outcome))
    assert counts.outcomes[outcome] == 1
    assert (counts.running, counts.failed) == (1, outcome.state is State.FAILED)
