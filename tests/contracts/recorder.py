"""What every recorder promises, whatever stands behind it."""

from dataclasses import replace

import pytest

from sweeper.tracking.live import LiveState, Note, Stage, TaskState
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import a_front, a_trial

FACTS = SweepFacts(
    name="small",
    spec_text="name: small  # as written\n",
    spec_json='{"name": "small"}\n',
    facts={"git": "abc123", "seed": "0"},
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
    """Return a trial with the times a ledger knows."""
    return a_trial(number, started_ms=1_000_000 + number, ended_ms=2_000_000 + number, **changes)


class RecorderContract:
    """Subclasses provide the fixture `recorder`: one that was just made."""

    def test_nothing_recorded_reads_back_as_nothing(self, recorder):
        recorder.open(FACTS)
        assert (recorder.trials(), recorder.fronts()) == ([], [])

    def test_outcomes_read_back_by_key_with_their_reasons(self, recorder):
        recorder.open(FACTS)
        recorder.record(a_failed_trial(9))
        recorder.record(a_late_trial(1))
        complete, failed = recorder.trials()
        assert (complete.key, complete.task) == ("k-digits-10-s1-0", "digits-10")
        assert (complete.state, complete.outcome, complete.reason) == ("complete", "complete", "")
        assert (failed.state, failed.outcome, failed.reason) == ("failed", "out_of_memory", "too large")

    def test_trial_recorded_twice_is_one_trial_and_the_first_record_stands(self, recorder):
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        before = recorder.trials()
        recorder.record(a_late_trial(1))
        recorder.record(a_failed_trial(1, key=a_trial(1).key))
        assert recorder.trials() == before

    def test_unfinished_trial_is_refused_by_its_state(self, recorder):
        recorder.open(FACTS)
        with pytest.raises(ValueError, match=r"k-digits-10-s1-0 is running; only finished"):
            recorder.record(a_trial(1, state=State.RUNNING, outcome=None))
        assert recorder.trials() == []

    def test_very_long_reason_is_cut_in_the_middle_and_says_so(self, recorder):
        recorder.open(FACTS)
        recorder.record(a_failed_trial(reason="start " + "x" * 10_000 + " the cause"))
        (trial,) = recorder.trials()
        assert len(trial.reason) == 5000
        assert trial.reason.startswith("start ")
        assert trial.reason.endswith(" the cause")
        assert "10016 characters in all" in trial.reason

    def test_reason_with_lines_and_odd_characters_survives(self, recorder):
        reason = "Traceback:\n  'quoted' \"twice\" `back` λ → 100 %\n\n\tValueError: 雪"
        recorder.open(FACTS)
        recorder.record(a_failed_trial(reason=reason))
        assert recorder.trials()[0].reason == reason

    def test_front_reads_back_and_an_unchanged_one_keeps_its_version(self, recorder):
        recorder.open(FACTS)
        trials = [a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=5.0)]
        for trial in trials:
            recorder.record(trial)
        stored = recorder.record_front(a_front(*trials))
        assert stored.version == 1
        assert stored.same_content(a_front(*trials))
        assert recorder.record_front(a_front(*trials)).version == 1
        (read,) = recorder.fronts()
        assert read.version == 1
        assert read.same_content(stored)

    def test_changed_front_is_the_next_version_and_old_members_leave_it(self, recorder):
        recorder.open(FACTS)
        first, better = a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=1.0)
        recorder.record(first)
        recorder.record_front(a_front(first))
        assert [t.on_front for t in recorder.trials()] == [True]
        recorder.record(better)
        assert recorder.record_front(a_front(first, better)).version == 2
        assert [t.on_front for t in recorder.trials()] == [False, True]
        assert [front.version for front in recorder.fronts()] == [2]

    def test_point_that_comes_back_to_the_front_is_on_it_again(self, recorder):
        recorder.open(FACTS)
        first, better = a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=1.0)
        for trial in (first, better):
            recorder.record(trial)
        for members in ([first], [better], [first]):
            recorder.record_front(a_front(*members))
        assert [t.on_front for t in recorder.trials()] == [True, False]
        assert [front.version for front in recorder.fronts()] == [3]

    def test_all_replicates_of_a_front_point_are_on_the_front(self, recorder):
        recorder.open(FACTS)
        trials = [a_late_trial(n, setting="s", seed=n) for n in (0, 1)]
        for trial in trials:
            recorder.record(trial)
        recorder.record_front(a_front(*trials))
        assert [t.on_front for t in recorder.trials()] == [True, True]

    def test_front_of_nothing_can_be_stored(self, recorder):
        recorder.open(FACTS)
        assert recorder.record_front(a_front()).version == 1
        assert recorder.fronts()[0].table.num_rows == 0

    def test_fronts_of_several_tasks_stay_apart(self, recorder):
        recorder.open(FACTS)
        hard = "cifar-10.occlusion-0.25_" + "x" * 76
        recorder.record_front(a_front(a_trial(0)))
        recorder.record_front(replace(a_front(a_trial(1)), task=hard))
        assert [(front.task, front.version) for front in recorder.fronts()] == [(hard, 1), ("digits-10", 1)]

    def test_closed_sweep_can_be_opened_again(self, recorder):
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        recorder.close("KILLED")
        recorder.open(FACTS)
        recorder.record(a_late_trial(1))
        recorder.record(a_late_trial(2))
        recorder.close("FINISHED")
        assert len(recorder.trials()) == 2

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
