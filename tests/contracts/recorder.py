"""The contract of every recorder, whatever stands behind it; the reader of the same tracker reads the data back."""

from dataclasses import replace

import pytest

from sweeper.analysis.trials import aims
from sweeper.rules import FACT, RULES
from sweeper.tracking.live import LiveState, Note, Stage, TaskState
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_front, a_trial

FACTS = SweepFacts(
    name="small",
    spec_text="name: small  # as written\n",
    spec_json='{"name": "small"}\n',
    facts={"git": "abc123", "seed": "0", FACT: str(RULES)},
    aims=aims(OBJECTIVES, REFERENCE),
)


def a_failed_trial(number=9, **changes):
    failed = {
        "state": State.FAILED,
        "outcome": Outcome.OUT_OF_MEMORY,
        "reason": "too large",
        "measurement": {},
    }
    return a_trial(number, **(failed | changes))


def a_late_trial(number, **changes):
    """Return a complete trial with the times that a ledger knows."""
    return a_trial(number, started_ms=1_000_000 + number, ended_ms=2_000_000 + number, **changes)


class RecorderContract:
    """Subclasses provide the fixtures `recorder`, a new one, and `reader`, which reads the recorder's sweep."""

    def test_nothing_recorded_reads_back_as_nothing(self, recorder, reader):
        recorder.open(FACTS)
        assert (reader.trials().records, reader.fronts()) == ([], [])

    def test_outcomes_read_back_with_their_reasons(self, recorder, reader):
        recorder.open(FACTS)
        recorder.record(a_failed_trial(9))
        recorder.record(a_late_trial(1))
        recorder.close("FINISHED")
        complete, failed = reader.trials().records
        assert (complete.key, complete.task) == ("k-digits-10-s1-0", "digits-10")
        assert (complete.state, complete.outcome, complete.reason) == (State.COMPLETE, Outcome.COMPLETE, "")
        assert (failed.state, failed.outcome, failed.reason) == (State.FAILED, Outcome.OUT_OF_MEMORY, "too large")

    def test_trial_recorded_twice_is_one_trial_and_the_first_record_stands(self, recorder, reader):
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        recorder.record_front(a_front(a_late_trial(1)))
        before = reader.trials().records
        assert len(before) == 1
        recorder.record(a_late_trial(1))
        recorder.record(a_failed_trial(1, key=a_trial(1).key))
        recorder.close("FINISHED")
        assert reader.trials().records == before

    def test_unfinished_trial_is_refused_by_its_state(self, recorder, reader):
        recorder.open(FACTS)
        with pytest.raises(ValueError, match=r"k-digits-10-s1-0 is running; only finished"):
            recorder.record(a_trial(1, state=State.RUNNING, outcome=None))
        recorder.close("FINISHED")
        assert reader.trials().records == []

    def test_very_long_reason_keeps_its_end_which_is_the_cause_and_says_that_it_was_cut(self, recorder, reader):
        recorder.open(FACTS)
        recorder.record(a_failed_trial(reason="start " + "x" * 10_000 + " the cause"))
        recorder.close("FINISHED")
        (trial,) = reader.trials().records
        assert len(trial.reason) <= 1000
        assert trial.reason.endswith("xxx the cause")
        assert trial.reason.startswith("[…] ")

    def test_reason_with_lines_and_odd_characters_survives(self, recorder, reader):
        reason = "Traceback:\n  'quoted' \"twice\" `back` λ → 100 %\n\n\tValueError: 雪"
        recorder.open(FACTS)
        recorder.record(a_failed_trial(reason=reason))
        recorder.close("FINISHED")
        assert reader.trials().records[0].reason == reason

    def test_front_reads_back_and_an_unchanged_one_keeps_its_version(self, recorder, reader):
        recorder.open(FACTS)
        trials = [a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=5.0)]
        for trial in trials:
            recorder.record(trial)
        stored = recorder.record_front(a_front(*trials))
        assert stored.version == 1
        assert stored.same_content(a_front(*trials))
        assert recorder.record_front(a_front(*trials)).version == 1
        (read,) = reader.fronts()
        assert read.version == 1
        assert read.same_content(stored)

    def test_changed_front_is_the_next_version_also_where_it_is_as_it_was_before(self, recorder, reader):
        recorder.open(FACTS)
        first, better = a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=1.0)
        for trial in (first, better):
            recorder.record(trial)
        for version, members in enumerate(([first], [first, better], [first]), 1):
            assert recorder.record_front(a_front(*members)).version == version
            (read,) = reader.fronts()
            assert (read.version, read.same_content(a_front(*members))) == (version, True)

    def test_front_of_nothing_can_be_stored(self, recorder, reader):
        recorder.open(FACTS)
        assert recorder.record_front(a_front()).version == 1
        assert reader.fronts()[0].table.num_rows == 0

    def test_fronts_of_several_tasks_stay_apart(self, recorder, reader):
        recorder.open(FACTS)
        hard = "cifar-10.occlusion-0.25_" + "x" * 76
        recorder.record_front(a_front(a_trial(0)))
        recorder.record_front(replace(a_front(a_trial(1)), task=hard))
        assert [(front.task, front.version) for front in reader.fronts()] == [(hard, 1), ("digits-10", 1)]

    def test_closed_sweep_can_be_opened_again(self, recorder, reader):
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        recorder.close("KILLED")
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        recorder.record(a_late_trial(2))
        recorder.close("FINISHED")
        assert len(reader.trials().records) == 2

    def test_closing_as_something_else_is_refused(self, recorder):
        recorder.open(FACTS)
        with pytest.raises(ValueError, match=r"FINISHED, KILLED, FAILED, but got 'done'"):
            recorder.close("done")

    def test_how_a_sweep_stands_reads_back_as_it_was_said_last(self, recorder):
        recorder.open(FACTS)
        assert recorder.live() is None
        first = LiveState("small", (TaskState("digits-10", 8, complete=1, best_accuracy=0.1),), written_ms=1)
        notes = (Note(3, 'it\'s "odd" \u00fc \u2191 \U0001f600'),)
        second = replace(first, stage=Stage.FINISHED, written_ms=2, work=1 / 3, notes=notes)
        for state in (first, second, second):
            recorder.record_live(state)
        assert recorder.live() == second
        recorder.open(FACTS)
        assert recorder.live() == second

    def test_how_a_sweep_of_very_many_tasks_stands_reads_back_with_all_its_trials(self, recorder):
        recorder.open(FACTS)
        rows = [TaskState(f"digits-10-occluded0.{number}-train200", 1000, complete=number) for number in range(500)]
        state = LiveState("small", tuple(rows))
        recorder.record_live(state)
        assert recorder.live().total == state.total
