"""Trials as tables: they read back as written, in one part or many, and MLflow holds a whole state or none."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.fronts import compute_front
from sweeper.analysis.points import points_table
from sweeper.analysis.trials import (
    TRIALS_FORMAT,
    aims,
    from_parquet_bytes,
    joined,
    read_aims,
    records_of,
    to_parquet_bytes,
    trials_table,
)
from sweeper.errors import QueryError, TrackingError, UnknownSweepError
from sweeper.measurements import MEASUREMENTS, Goal, Objective
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_front, a_trial
from tests.contracts.recorder import FACTS, a_failed_trial, a_late_trial
from tests.tracking.test_mlflow import all_runs, parent_of, uri  # noqa: F401  # a fixture

FULL_FACTS = replace(FACTS, aims=aims(OBJECTIVES, REFERENCE))

_WORDS = st.text("abc é\n", max_size=6)
_TRIALS = st.lists(
    st.builds(
        a_late_trial,
        st.integers(0, 50),
        task=st.sampled_from(["digits-10", "digits-3"]),
        setting=st.text("xyz", min_size=1, max_size=3),
        seed=st.integers(0, 3),
        attempt=st.integers(0, 4),
        reason=_WORDS,
        population=_WORDS,
        state=st.just(State.COMPLETE),
        axes=st.dictionaries(st.sampled_from(["classes", "accuracy", "solver"]), st.integers(0, 9)),
        measurement=st.dictionaries(st.sampled_from(list(MEASUREMENTS)), st.floats(-1e9, 1e9)),
        details=st.sampled_from([{}, {"channels_per_layer": [3, 1]}, {"channels_per_layer": []}]),
    ),
    max_size=8,
    unique_by=lambda trial: trial.key,
)


def as_stored(trial):
    """Return a trial with only the facts that a table keeps."""
    return replace(trial, setting={}, curve=(), note={}, rungs={}, retries={})


def in_order(trials):
    return sorted(trials, key=lambda trial: (trial.task, trial.number, trial.key))


@given(_TRIALS)
def test_trials_come_out_of_a_table_as_they_went_in(trials):
    read = records_of(from_parquet_bytes(to_parquet_bytes(trials_table(trials))), "small")
    assert read == [as_stored(trial) for trial in in_order(trials)]


@given(_TRIALS, st.integers(0, 8))
def test_parts_joined_say_what_one_table_says(trials, at):
    parts = [trials_table(trials[:at]), trials_table(trials[at:])]
    assert records_of(joined(parts), "small") == records_of(trials_table(trials), "small")


def test_table_has_axes_beside_measurements_under_names_of_their_own():
    table = trials_table([a_trial(axes={"accuracy": 0.3, "classes": 5, "solver": "proximal"})])
    assert table["setting.accuracy"].to_pylist() == [0.3]
    assert table["classes"].type == pa.int64()
    assert table["solver"].to_pylist() == ["proximal"]


def test_axis_of_numbers_in_one_part_and_words_in_another_becomes_words():
    table = joined([trials_table([a_trial(0, axes={"noise": 1})]), trials_table([a_trial(1, axes={"noise": "auto"})])])
    assert table["noise"].to_pylist() == ["1", "auto"]


def test_fronts_from_a_table_are_those_of_the_trials_themselves():
    trials = [a_trial(n, accuracy=0.1 * n, time=float(n % 3), setting=f"s{n // 2}", seed=n % 2) for n in range(8)]
    read = records_of(trials_table([*trials, a_failed_trial(20)]), "small")
    assert points_table(read, OBJECTIVES).equals(points_table(trials, OBJECTIVES))
    facts = {"sweep": "small", "task": "digits-10", "objectives": OBJECTIVES, "reference_point": REFERENCE}
    assert compute_front(read, **facts).same_content(a_front(*trials))


def test_long_reason_keeps_its_end_where_the_cause_is():
    (reason,) = trials_table([a_failed_trial(reason="x" * 5000 + " the cause")])["reason"].to_pylist()
    assert len(reason) == 1000
    assert reason.endswith("the cause")


def test_table_of_a_newer_sweeper_is_refused_by_its_format():
    facts = json.dumps({"format": TRIALS_FORMAT + 1, "axes": {}})
    data = to_parquet_bytes(trials_table([]).replace_schema_metadata({"sweeper": facts}))
    with pytest.raises(QueryError, match=rf"format {TRIALS_FORMAT + 1}, but this sweeper reads formats up to"):
        from_parquet_bytes(data)


def test_table_without_a_column_that_says_which_trial_it_is_is_refused_by_its_name():
    data = to_parquet_bytes(trials_table([a_trial()]).drop_columns(["setting_key"]))
    with pytest.raises(QueryError, match="the stored trials lack setting_key"):
        from_parquet_bytes(data)


@pytest.mark.parametrize("data", [b"", b"PAR1 and then nothing", to_parquet_bytes(pa.table({"a": [1]}))])
def test_what_is_no_table_of_trials_is_refused(data):
    with pytest.raises(QueryError, match=f"{len(data)} bytes are no trials that sweeper wrote"):
        from_parquet_bytes(data)


def test_aims_read_back_and_garbage_is_refused():
    goals = [Objective("accuracy", Goal.MAXIMIZE), Objective("time", Goal.MINIMIZE)]
    assert read_aims(aims(goals, {"accuracy": 0, "time": 6})) == (tuple(goals), {"accuracy": 0.0, "time": 6.0})
    for text in ("", "[]", '{"objectives": [["accuracy", "up"]]}', '{"objectives": [["time", "minimize"]]}'):
        with pytest.raises(QueryError, match="objectives of this sweep cannot be read"):
            read_aims(text)


# --- in MLflow ------------------------------------------------------------------------------------


@pytest.fixture
def recorder(uri):  # noqa: F811
    recorder = MlflowRecorder(uri)
    recorder.open(FULL_FACTS)
    return recorder


def tell(recorder, *trials):
    for trial in trials:
        recorder.record(trial)
    recorder.record_front(a_front(*trials))


def parts_of(uri):  # noqa: F811
    return json.loads(parent_of(uri).data.tags["sweeper.trials"])["parts"]


def test_trials_are_read_from_mlflow_with_their_aims(recorder, uri):  # noqa: F811
    trials = [a_late_trial(0), a_failed_trial(1, started_ms=5, ended_ms=9)]
    tell(recorder, *trials)
    stored = MlflowReader(uri, "small").trials()
    assert stored.records == [as_stored(trial) for trial in in_order(trials)]
    assert (stored.objectives, stored.reference_point) == (tuple(OBJECTIVES), REFERENCE)
    assert stored.table["outcome"].to_pylist().count(str(Outcome.OUT_OF_MEMORY)) == 1


def test_sweep_without_a_finished_trial_has_an_empty_table(recorder, uri):  # noqa: F811
    assert MlflowReader(uri, "small").trials().records == []


@pytest.mark.slow
def test_trials_added_one_at_a_time_stand_in_few_files(recorder, uri):  # noqa: F811
    for number in range(20):
        tell(recorder, a_late_trial(number))
    assert len(parts_of(uri)) <= 4
    assert sum(rows for _, rows in parts_of(uri)) == 20
    assert [record.number for record in MlflowReader(uri, "small").trials().records] == list(range(20))


def test_trial_recorded_again_by_another_driver_stands_in_the_table_once(recorder, uri):  # noqa: F811
    tell(recorder, a_late_trial(0))
    again = MlflowRecorder(uri)
    again.open(FULL_FACTS)
    tell(again, a_late_trial(0), a_late_trial(1))
    assert [record.number for record in MlflowReader(uri, "small").trials().records] == [0, 1]


def test_trial_whose_driver_died_before_the_table_was_written_is_added_by_the_next(recorder, uri):  # noqa: F811
    recorder.record(a_late_trial(0))  # writes its run, not the table
    assert MlflowReader(uri, "small").trials().records == []
    again = MlflowRecorder(uri)
    again.open(FULL_FACTS)
    again.record(a_late_trial(0))
    again.close("FINISHED")
    assert [record.number for record in MlflowReader(uri, "small").trials().records] == [0]


def test_reader_sees_the_former_state_until_the_mark_is_set(recorder, uri, monkeypatch):  # noqa: F811
    tell(recorder, a_late_trial(0))

    def killed(*_, **__):
        raise KeyboardInterrupt

    recorder.record(a_late_trial(1))
    with monkeypatch.context() as patched:
        patched.setattr(type(recorder._client), "set_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            recorder.record_front(a_front(a_late_trial(0), a_late_trial(1)))
    assert [record.number for record in MlflowReader(uri, "small").trials().records] == [0]


def test_lost_file_of_the_table_is_said_by_its_name_and_written_anew_by_the_next_driver(
    recorder,
    uri,  # noqa: F811
    tmp_path,
):
    tell(recorder, a_late_trial(0))
    ((path, _),) = parts_of(uri)
    (file,) = tmp_path.glob(f"artifacts/small/*/artifacts/{path}")
    file.unlink()
    with pytest.raises(TrackingError, match=path):
        MlflowReader(uri, "small").trials()
    again = MlflowRecorder(uri)
    again.open(FULL_FACTS)
    tell(again, a_late_trial(0))
    assert [record.number for record in MlflowReader(uri, "small").trials().records] == [0]


def test_sweep_mirrored_by_an_older_version_is_told_apart_from_none(uri):  # noqa: F811
    MlflowRecorder(uri).open(FACTS)
    connect(uri).delete_tag(parent_of(uri).info.run_id, "sweeper.aims")
    with pytest.raises(QueryError, match=r"'small' .* older version .* `sweeper mirror small`"):
        MlflowReader(uri, "small").trials()
    with pytest.raises(UnknownSweepError, match=r"no sweep 'smal' .*known: small"):
        MlflowReader(uri, "smal").trials()


def test_networks_of_a_front_are_stored_once_and_read_back(uri):  # noqa: F811
    asked = []

    def network(key):
        asked.append(key)
        return None if key == a_late_trial(2).key else f"network {key}".encode()

    recorder = MlflowRecorder(uri, network=network)
    recorder.open(FULL_FACTS)
    trials = [a_late_trial(n, accuracy=0.1 * n, time=float(n)) for n in (1, 2, 3)]
    tell(recorder, *trials)
    tell(recorder, *trials)
    assert sorted(asked) == sorted([trial.key for trial in trials] + [trials[1].key]), "what was missing is asked again"
    stored = MlflowReader(uri, "small").networks()
    assert stored.read(trials[0].key) == f"network {trials[0].key}".encode()
    assert stored.read(trials[1].key) is None
    assert MlflowReader(uri, "small").artifact("spec.yaml") == FACTS.spec_text.encode()
    assert MlflowReader(uri, "small").artifact("nothing/at.all") is None


def test_chosen_front_is_stored_beside_the_whole_one(recorder, uri):  # noqa: F811
    trials = [a_late_trial(n, accuracy=0.1 * n, time=5.0 - n, measurement=None or {**values}) for n, values in cases()]
    facts = {"sweep": "small", "task": "digits-10", "reference_point": {**REFERENCE, "macs": 9.0}}
    three = [*OBJECTIVES, Objective("macs", Goal.MINIMIZE)]
    for trial in trials:
        recorder.record(trial)
    whole = recorder.record_front(compute_front(trials, objectives=three, **facts))
    chosen = recorder.record_front(compute_front(trials, objectives=OBJECTIVES, is_chosen=True, **facts))
    assert (whole.version, chosen.version) == (1, 1)
    assert [front.same_content(whole) for front in MlflowReader(uri, "small").fronts()] == [True]
    names = [objective.name for objective in OBJECTIVES]
    (read,) = MlflowReader(uri, "small").fronts("digits-10", names)
    assert read.same_content(chosen)
    assert read.is_chosen
    assert MlflowReader(uri, "small").fronts("digits-10", ["accuracy", "depth"]) == []
    assert len([run for run in all_runs(uri) if "sweeper.front" in run.data.tags]) == whole.table.num_rows


def cases():
    base = dict.fromkeys(MEASUREMENTS, 1.0)
    return [(n, base | {"accuracy": 0.1 * n, "time": 5.0 - n % 2, "macs": float(n)}) for n in range(4)]
