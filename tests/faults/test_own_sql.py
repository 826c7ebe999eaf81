"""The comparison by SQL finds each kind of damage to a good sweep, and nothing in an undamaged one."""

from __future__ import annotations

import copy
from collections import Counter

import pyarrow as pa
import pytest

from tests.faults.own_sql import Row, Run, Stored, compared

SPEC = {"objectives": [{"name": "accuracy", "goal": "maximize"}, {"name": "time", "goal": "minimize"}]}

#: Accuracy and time of each setting; the last setting is worse than the first in both, and was stopped.
POINTS = {"a": (0.9, 2.0), "b": (0.8, 1.0), "c": (0.5, 3.0)}


def a_sweep():
    rows, runs = [], {}
    for number, (name, (accuracy, time)) in enumerate(POINTS.items()):
        for seed in (0, 1):
            key, is_stopped = f"{name}{seed}", name == "c"
            measured = {"accuracy": accuracy + seed / 100, "time": time}
            setting = {"pressure": number, "seed": seed}
            ended = {"outcome": "pruned" if is_stopped else "complete", "reason": "", "measurement": measured}
            ended |= {
                "details": {"layers": [number]},
                "curve": [{"epoch": e} for e in range(1, 3 if is_stopped else 5)],
            }
            plan = {"key": key, "setting": setting, "axes": {"pressure": number}, "population": name}
            attributes = {"plan": plan, "ended": ended, "claim": {"attempt": 1}, "rungs": {"2": measured}}
            state, values = ("PRUNED", {}) if is_stopped else ("COMPLETE", dict(enumerate(measured.values())))
            rows.append(Row("task", 2 * number + seed, state, "then", attributes, {"pressure": number}, values))
            tags = {"sweeper.trial_key": key, "sweeper.attempt": "1", "sweeper.state": state}
            points = [(metric, 0, value) for metric, value in measured.items()]
            runs[key] = [Run(key, "KILLED" if is_stopped else "FINISHED", tags, {"pressure": str(number)}, points)]
    front = pa.table({
        "keys": [["a0", "a1"], ["b0", "b1"]],
        "accuracy": [(0.9 + 0.91) / 2, (0.8 + 0.81) / 2],
        "time": [2.0, 1.0],
    })
    table = Counter((row.key, 1) for row in rows)
    networks = {row.key: f"digest of {row.key}" for row in rows if row.state == "COMPLETE"}
    return Stored(rows, runs, [Run("sweep", "FINISHED")], {"task": (front, 3.5)}, table, networks)


def found_in(held, *, is_ordered=True):
    found = compared(held, a_sweep(), SPEC, is_ordered=is_ordered)
    return {kind for kind, its in found.items() if its}


@pytest.mark.parametrize("is_ordered", [True, False])
def test_nothing_is_found_in_a_sweep_that_is_as_the_undisturbed_one(is_ordered):
    assert found_in(a_sweep(), is_ordered=is_ordered) == set()


def test_attempts_and_times_are_each_sweeps_own():
    held = a_sweep()
    held.rows[0].attributes["claim"]["attempt"] = 3
    held.rows[0].ended_at = "later"
    held.runs["a0"][0].tags["sweeper.attempt"] = "3"
    held.table = Counter((row.key, row.attempt) for row in held.rows)
    assert found_in(held) == set()


def fail(held):
    held.rows[0].state, held.runs["a0"][0].status = "FAIL", "FAILED"
    held.rows[0].ended["outcome"] = "lost"


DAMAGE = {
    "a trial without a row": ("lost", lambda s: s.rows.pop()),
    "a trial that was lost": ("lost", fail),
    "a trial without a run": ("lost", lambda s: s.runs.pop("a0")),
    "a trial that is not in the table": ("lost", lambda s: s.table.pop(("a0", 1))),
    "a trial without a network": ("lost", lambda s: s.networks.pop("a0")),
    "a second row": ("repeated", lambda s: s.rows.append(copy.deepcopy(s.rows[0]))),
    "a second run": ("repeated", lambda s: s.runs["a0"].append(copy.deepcopy(s.runs["a0"][0]))),
    "a second point": ("repeated", lambda s: s.runs["a0"][0].points.append(("accuracy", 0, 0.9))),
    "a second row of the table": ("repeated", lambda s: s.table.update([("a0", 1)])),
    "a trial that runs": ("stuck", lambda s: setattr(s.rows[0], "state", "RUNNING")),
    "a run that runs": ("stuck", lambda s: setattr(s.runs["a0"][0], "status", "RUNNING")),
    "a sweep that runs": ("stuck", lambda s: setattr(s.sweeps[0], "status", "RUNNING")),
    "another measurement": ("wrong", lambda s: s.rows[0].ended["measurement"].update(loss=1e-17)),
    "another curve": ("wrong", lambda s: s.rows[0].ended["curve"][0].update(epoch=1.0000000000000002)),
    "another rung": ("wrong", lambda s: s.rows[0].rungs["2"].update(accuracy=0.9000000000000001)),
    "another value": ("wrong", lambda s: s.rows[0].values.update({0: 0.9000000000000001})),
    "another population": ("wrong", lambda s: s.rows[0].attributes["plan"].update(population="b")),
    "a divided population": ("wrong", lambda s: s.rows[0].attributes["plan"].update(former=["b"])),
    "another parameter": ("wrong", lambda s: s.rows[0].params.update(pressure=0.5)),
    "another network": ("wrong", lambda s: s.networks.update(a0="another")),
    "another front": ("wrong", lambda s: s.fronts.update(task=(s.fronts["task"][0].slice(1), 3.5))),
    "another hypervolume": ("wrong", lambda s: s.fronts.update(task=(s.fronts["task"][0], 3.4))),
    "a run of no trial": ("wrong", lambda s: s.runs.update(x=[])),
    "a run of another attempt": ("wrong", lambda s: s.runs["a0"][0].tags.update({"sweeper.attempt": "2"})),
    "another number in MLflow": ("wrong", lambda s: s.runs["a0"][0].points.__setitem__(0, ("accuracy", 0, 0.8))),
    "another param in MLflow": ("wrong", lambda s: s.runs["a0"][0].params.update(pressure="7")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found(what):
    kind, damage = DAMAGE[what]
    held = a_sweep()
    damage(held)
    assert kind in found_in(held)


def stop_the_best(held):
    for row in held.rows[:2]:
        row.state, row.ended["curve"] = "PRUNED", row.ended["curve"][:2]
        held.runs[row.key][0].status = "KILLED"
        del held.networks[row.key]
    held.fronts["task"] = held.fronts["task"][0].slice(1), 1.0


def test_other_trials_may_be_stopped_where_their_order_is_free_but_not_what_nothing_beats():
    held = a_sweep()
    for row in held.rows[4:]:  # trials that were stopped in the undisturbed sweep, trained to the end
        row.state, row.ended["outcome"] = "COMPLETE", "complete"
        row.ended["curve"] = [{"epoch": epoch} for epoch in range(1, 5)]
        held.runs[row.key][0].status, held.networks[row.key] = "FINISHED", "its own"
    assert found_in(held, is_ordered=False) == set()
    assert found_in(held) == {"wrong"}
    stop_the_best(held := a_sweep())
    assert found_in(held, is_ordered=False) == {"wrong"}
