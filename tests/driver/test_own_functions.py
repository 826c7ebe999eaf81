"""Sweeps of a user's own function: planned, run, stopped by a bug, resumed with new code, read by every table."""

from __future__ import annotations

import itertools
import json
import sys
import textwrap

import pytest

from sweeper import own_code
from sweeper.analysis import columns
from sweeper.analysis.points import axis_column
from sweeper.cli import run as cli
from sweeper.driver.same_fault import ENOUGH, fault_in, same_fault
from sweeper.driver.sweep import Sweep
from sweeper.errors import SpecError, SpecMismatchError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.open import read_ledger
from sweeper.measurements import TAKEN
from sweeper.results.sweep_tables import SweepTables
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.trial import Outcome, State
from tests.contracts.recorder import a_failed_trial, a_late_trial
from tests.support.browser import browser, violations

SPEC = """
train: MODULE:train
parameters: {width: {values: [1, 2, 4, 8, 16]}}
measures: {accuracy: share, cost: units}
objectives: [{name: accuracy, goal: maximize}, {name: cost, goal: minimize}]
reference_point: {accuracy: 0, cost: 100}
"""

GOOD = """
def train(trial, width: int, epochs: int = 2):
    for epoch in trial.epochs(epochs):
        trial.report(state=epoch, accuracy=0.1 * epoch + width / 100, cost=width)
"""

names = itertools.count()


@pytest.fixture
def own(tmp_path):
    """A sweep of a function in its own module, whose code a test can rewrite."""

    class Own:
        module = f"swept{next(names)}"
        home = tmp_path / "home"
        recorder = MemoryRecorder()

        def write(self, code, spec=SPEC):
            (tmp_path / f"{self.module}.py").write_text(textwrap.dedent(code))
            (tmp_path / "own.yaml").write_text(spec.replace("MODULE", self.module))
            sys.modules.pop(self.module, None)  # real workers are other processes, and import it anew

        @property
        def sweep(self):
            return Sweep("own", self.home)

        def run(self, **options):
            loaded = load_spec(tmp_path / "own.yaml")
            return self.sweep.run(loaded, executor=InlineExecutor(), recorder=self.recorder, **options)

        def resume(self, **options):
            return self.sweep.resume(executor=InlineExecutor(), recorder=self.recorder, **options)

        @property
        def records(self):
            ledger = read_ledger(self.sweep._home.sweep("own"))
            try:
                return ledger.records()
            finally:
                ledger.close()

        @property
        def tables(self):
            return SweepTables(MemoryReader(self.recorder, "own"))

    return Own()


@pytest.mark.slow
def test_tables_hold_what_the_function_measures_in_its_units(own):
    own.write(GOOD)
    summary = own.run()
    assert (summary.is_finished, summary.counts.complete) == (True, 5)
    (front,) = summary.fronts
    assert front.own_units == {"accuracy": "share", "cost": "units"}
    assert [row["width"] for row in front.table.to_pylist()] == [1, 2, 4, 8, 16]
    trials = own.tables.trials()
    assert trials.column_names[-2:] == ["accuracy", "cost"]
    assert len(set(trials["code"].to_pylist())) == 1
    assert all(record.codes == (own_code.version_of(_code(own)),) for record in own.records)


def _code(own):
    ledger = read_ledger(own.sweep._home.sweep("own"))
    try:
        return ledger.code
    finally:
        ledger.close()


@pytest.mark.slow
def test_code_that_has_changed_is_refused_and_goes_on_when_that_is_asked_for(own):
    own.write(GOOD)
    told = iter(range(100))
    own.run(should_stop=lambda: next(told) > 6)
    before = {record.key: record.codes for record in own.records if record.state is State.COMPLETE}
    assert 0 < len(before) < 5
    own.write(GOOD.replace("0.1 * epoch", "0.2 * epoch"))
    with pytest.raises(SpecMismatchError, match=rf"{own.module}\.py has changed .*--new-code"):
        own.resume()
    assert {record.key: record.codes for record in own.records if record.state is State.COMPLETE} == before
    summary = own.resume(takes_new_code=True)
    assert summary.counts.complete == 5
    after = {record.key: record.codes for record in own.records}
    assert {key: after[key] for key in before} == before, "what had ended is of the code that it was"
    new = own_code.version_of(_code(own))
    assert {codes[-1] for key, codes in after.items() if key not in before} == {new}
    (front,) = summary.fronts
    assert own_code.mixed(front.codes).startswith("trials of 2 versions of the code")
    assert own.resume().is_finished, "it is the code now"


@pytest.mark.slow
def test_bug_does_not_burn_a_sweep(own):
    bug = GOOD.replace("epochs: int = 2", "epochs: int = 3").replace(
        "trial.report", "{'x': 1}[width] if epoch > 1 else None\n        trial.report"
    )
    own.write(bug)
    summary = own.run()
    assert (summary.counts.failed, summary.counts.waiting) == (ENOUGH, 5 - ENOUGH)
    assert summary.fault.splitlines()[-1].startswith("KeyError")
    assert own.module in summary.fault.splitlines()[1], "a traceback begins with the user's own code"
    own.write(bug.replace("{'x': 1}[width]", "1"))
    summary = own.resume(takes_new_code=True, again=("failed",))
    assert (summary.counts.complete, summary.fault) == (5, "")


@pytest.mark.slow
def test_code_that_changes_while_it_runs_stops_the_sweep_and_fails_nothing(own, tmp_path):
    own.write(GOOD)
    file, told = tmp_path / f"{own.module}.py", []

    def observe(snapshot):
        if snapshot.counts.complete == 2 and not told:
            told.append(file.write_text(file.read_text() + "\n# changed\n"))

    with pytest.raises(SpecMismatchError, match=rf"{own.module}\.py has changed"):
        own.run(observe=observe)
    assert {record.state for record in own.records} == {State.COMPLETE, State.WAITING}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "spec", "said"),
    [
        ("import nothing_of_the_kind\ndef train(): ...", SPEC, "nothing_of_the_kind"),
        ("def train(width: int): return {'cost': 1}", SPEC, "did not measure accuracy"),
        ("def train(width: int): raise ValueError(width)", SPEC, "ended failed"),
        ("def train(trial, width: int): trial.report(accuracy=1, speed=2)", SPEC, "'speed', which the spec does not"),
        (
            "def train(width: int): return {'cost': 1, 'accuracy': 1}",
            SPEC + "early_stopping: {min_epochs: 2}\n",
            "takes no argument `trial`",
        ),
        (
            "def train(trial, width: int):\n    for _ in trial.epochs(9): trial.report(cost=1, accuracy=1)",
            SPEC + "early_stopping: {min_epochs: 2}\n",
            "reports no state",
        ),
    ],
)
def test_function_that_cannot_work_is_refused_before_anything_is_planned(own, code, spec, said):
    own.write(code, spec)
    with pytest.raises(SpecError) as raised:
        own.run()
    assert said in str(raised.value)
    assert not (own.home / "own" / "ledger.db").exists()


@pytest.mark.slow
def test_commands_that_read_never_import_the_function(own, tmp_path, monkeypatch, capsys):
    own.write(GOOD)
    loaded = load_spec(tmp_path / "own.yaml")
    own.sweep.run(loaded, executor=InlineExecutor())  # mirrored to MLflow
    trap = tmp_path / "trap"
    own.write(f"open({str(trap)!r}, 'w')\n" + GOOD)
    monkeypatch.chdir(tmp_path)
    key = own.records[0].key
    read = [
        ["pareto", "own", "--where", "accuracy >= 0.1"],
        ["trials", "own"],
        ["plot", "own", "front-cost", "-o", "a.html"],
        ["report", "own", "-o", "report.html"],
        *([command, "own"] for command in ("status", "audit", "mirror")),
    ]
    for words in read:
        monkeypatch.setattr(sys, "argv", ["sweeper", *words, *(["--home", str(own.home)])])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code, (words, capsys.readouterr().err)
    for words in (["show", key], ["findings", "own"]):
        monkeypatch.setattr(sys, "argv", ["sweeper", *words, *(["--home", str(own.home)])])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert "own function" in capsys.readouterr().err
    assert not trap.exists()
    assert "breadth" not in (tmp_path / "report.html").read_text()
    with browser() as started:  # the page is that of networks, without their drawing
        page = started.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        shown = page.locator(".along .shown")
        assert all(word in shown.inner_text() for word in ("width", "accuracy", "cost"))
        assert page.locator("svg.network").count() == 0
        assert page.locator("[data-figure$='/slices']").count() == 1
        assert violations(page) == []


# --- the rule for faults ----------------------------------------------------------------------------------------------

TRACEBACK = 'Traceback (most recent call last):\n  File "/a/b.py", line {line}, in train\n    raise E\n{kind}: {text}\n'


def failed(number, reason, outcome=Outcome.FAILED):
    from dataclasses import replace

    return replace(a_failed_trial(number), outcome=outcome, reason=reason)


def test_failures_are_alike_by_what_was_raised_and_where_not_by_their_words():
    alike = [failed(n, TRACEBACK.format(line=3, kind="KeyError", text=n)) for n in range(ENOUGH)]
    assert "KeyError: 0" in same_fault(alike)
    assert same_fault(alike[1:]) == "", "too few have ended"
    for other in (
        TRACEBACK.format(line=4, kind="KeyError", text=1),
        TRACEBACK.format(line=3, kind="ValueError", text=1),
        "it said nothing",
    ):
        assert same_fault([*alike, failed(9, other)]) == ""
    assert same_fault([*alike, failed(9, alike[0].reason, Outcome.LOST)]) == ""
    assert same_fault([*alike, a_late_trial(9)]) == "", "one was complete"
    assert fault_in("what has no traceback\n") == "what has no traceback"


# --- names --------------------------------------------------------------------------------------------------------------


def test_no_column_of_ours_can_be_taken_for_an_own_one():
    ours = {*columns.ORIGIN, *columns.POINT, *columns.TRIAL, *columns.WALL_COLUMNS, *columns.ANSWER}
    assert ours <= TAKEN
    assert axis_column("state", {"accuracy": "share"}) == "setting.state"
    assert axis_column("accuracy", {"accuracy": "share"}) == "setting.accuracy"
    assert axis_column("depth", {"accuracy": "share"}) == "depth"


def test_versions_tell_codes_apart_and_say_what_changed():
    one, other = {"a.py": "1", "b.py": "2"}, {"a.py": "1", "b.py": "3", "c.py": "4"}
    assert own_code.version_of(one) != own_code.version_of(other)
    assert own_code.version_of({}) == ""
    assert own_code.changed(one, other) == ["b.py has changed", "c.py is new"]
    assert own_code.changed(other, one) == ["b.py has changed", "c.py is not read any more"]
    assert own_code.files_in({own_code.FILES: own_code.fact_of(one)}) == one
    assert own_code.mixed(["a", "a"]) == ""
    assert own_code.mixed(["a", "a+b"]) == "trials of 2 versions of the code: a (2), b (1), see column `code`"
    assert json.loads(own_code.fact_of(one)) == one
