"""The contract of every reader, whatever stands behind it; the recorder of the same tracker writes the data."""

from dataclasses import replace

import pytest

from sweeper.analysis.fronts import compute_fronts
from sweeper.errors import QueryError, UnknownSweepError
from sweeper.tracking.live import LiveState, TaskState
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_front
from tests.contracts.recorder import FACTS, a_failed_trial, a_late_trial


class ReaderContract:
    """Subclasses provide the fixtures `recorder`, `reader` and `other_reader`.

    The content of each network of `recorder` is its key as bytes. `reader` reads the recorder's sweep, and
    `other_reader` a sweep that the tracker does not hold.
    """

    def test_sweep_that_is_not_there_is_refused_by_every_method(self, recorder, other_reader):
        recorder.open(FACTS)
        asks = (
            other_reader.facts,
            other_reader.fronts,
            other_reader.trials,
            other_reader.live,
            other_reader.networks,
            lambda: other_reader.artifact("spec.yaml"),
        )
        for ask in asks:
            with pytest.raises(UnknownSweepError, match=rf"no sweep '{other_reader.sweep}'"):
                ask()

    def test_reader_knows_its_sweep_and_where_it_is_before_anything_is_there(self, reader, other_reader):
        assert (reader.sweep, reader.address) == (FACTS.name, other_reader.address)

    def test_facts_and_spec_read_back_as_they_were_given(self, recorder, reader):
        recorder.open(FACTS)
        assert reader.facts().items() >= FACTS.facts.items()
        assert reader.artifact("spec.yaml") == FACTS.spec_text.encode()
        assert reader.artifact("spec_resolved.json") == FACTS.spec_json.encode()
        assert reader.artifact("nothing/at.all") is None

    def test_trials_read_back_with_what_they_were_optimised_for(self, recorder, reader):
        recorder.open(FACTS)
        trials = [a_late_trial(1), a_late_trial(0), a_failed_trial(9)]
        for trial in trials:
            recorder.record(trial)
        recorder.close("FINISHED")
        stored = reader.trials()
        assert (stored.sweep, stored.objectives) == (FACTS.name, tuple(OBJECTIVES))
        assert dict(stored.reference_point) == dict(REFERENCE)
        assert [record.number for record in stored.records] == [0, 1, 9]
        assert stored.records[1].measurement == trials[0].measurement
        assert stored.records[1].axes == trials[0].axes

    def test_front_of_an_unknown_task_is_refused_by_its_name(self, recorder, reader):
        recorder.open(FACTS)
        recorder.record_front(a_front(a_late_trial(0)))
        with pytest.raises(UnknownSweepError, match=r"no front of task 'digits-11' \(it has: digits-10\)"):
            reader.fronts("digits-11")

    def test_front_over_some_objectives_reads_back_in_any_order_and_is_none_where_it_was_not_chosen(
        self, recorder, reader
    ):
        recorder.open(FACTS)
        trial = replace(a_late_trial(0), sweep=FACTS.name)
        whole, some = compute_fronts([trial], FACTS.name, trial.task, OBJECTIVES, REFERENCE, [["accuracy", "time"]])
        for front in (whole, some):
            recorder.record_front(front)
        for names in (["accuracy", "time"], ["time", "accuracy"]):
            (read,) = reader.fronts(trial.task, names)
            assert read.same_content(some)
        assert reader.fronts(trial.task, ["accuracy", "depth"]) == []
        assert [front.same_content(whole) for front in reader.fronts()] == [True]

    def test_networks_of_all_that_were_ever_on_a_front_read_back(self, recorder, reader):
        recorder.open(FACTS)
        first, better = a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=1.0)
        for trial in (first, better):
            recorder.record(trial)
            recorder.record_front(a_front(trial))
        networks = reader.networks()
        assert networks.keys == sorted([first.key, better.key])
        assert networks.read(first.key) == first.key.encode()
        assert networks.read("0123456789abcdef") is None

    def test_how_a_sweep_stands_reads_back_and_is_refused_where_it_was_never_said(self, recorder, reader):
        recorder.open(FACTS)
        with pytest.raises(QueryError, match=r"'small'.* does not say how it stands"):
            reader.live()
        state = LiveState(FACTS.name, (TaskState("digits-10", 8, complete=1, best_accuracy=0.1),), written_ms=1)
        recorder.record_live(state)
        assert reader.live() == state
