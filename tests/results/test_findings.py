"""Findings of a stored sweep about the claims, from MLflow alone: values, pictures, and a section of the report."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

from sweeper.analysis.findings import diversity, growth, occlusion, reaction_times, tradeoffs
from sweeper.analysis.findings.verdicts import Finding
from sweeper.analysis.trials import aims
from sweeper.errors import QueryError
from sweeper.results.findings import SCHEMA, said_of_unfinished
from sweeper.results.loaded_sweep import LoadedSweep, load
from sweeper.results.plots.catalogue import titles_of
from sweeper.results.plots.findings import FINDINGS, picture_of_finding
from sweeper.results.plots.panels import apart, interval
from sweeper.results.plots.style import NotDrawnError
from sweeper.results.report.page import report
from sweeper.tracking.live import LiveState, TaskState
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.tracking.mlflow.reader import MlflowReader
from tests.analysis.findings.made import networks_of
from tests.analysis.findings.test_claims import asked as of_people
from tests.analysis.findings.test_claims import climbed, decided, graphs, occluded, people, traded_networks
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE
from tests.contracts.recorder import FACTS, a_late_trial
from tests.support.swept import answers, reactions


@pytest.fixture(scope="module")
def sweep(asked):
    return load("asked", asked)


@pytest.fixture(scope="module")
def silent(asked):
    return load("silent", asked)


@pytest.fixture(scope="module")
def labels(sweep):
    key = sweep.records[0].key
    rows = sweep.probes(where=[f"key = '{key}'", "probe = whole"]).sort_by("image")
    return rows["label"].to_pylist()


@pytest.fixture(scope="module")
def human(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("people")
    return [answers(labels, folder / "answers.parquet"), reactions(folder / "trials.parquet")]


@pytest.mark.slow
def test_claims_are_answered_or_what_is_missing_is_said(sweep, human):
    found = {one.claim: one for one in sweep.findings(human=human).findings}
    assert list(found) == ["F1", "F2", "F3", "F4", "F5"]
    assert found["F1"].missing == ("depth_pressure is not varied",)
    assert found["F2"].missing
    for claim in ("F3", "F4", "F5"):
        assert found[claim].parts, claim
        assert not found[claim].missing
    (by_condition,) = found["F4"].described
    (row,) = by_condition["by_condition"]
    assert (row["kind"], row["levels"]) == ("noise", 6)
    assert math.isnan(row["feed_forward"]), "no network without recurrence was trained"
    low, high = row["steps_interval"]
    assert low <= row["steps"] <= high or math.isnan(row["steps"])


@pytest.mark.slow
def test_same_sweep_says_the_same_again_and_from_another_reader(sweep, asked):
    claims = ["F3", "F5"]
    first = json.dumps(sweep.findings(claims).to_dict())
    assert first == json.dumps(sweep.findings(claims).to_dict())
    assert first == json.dumps(load("asked", asked).findings(claims).to_dict())


@pytest.mark.slow
def test_p_is_corrected_over_all_tests_whichever_claims_are_shown(sweep):
    every = {(row["claim"], row["rule"], row["effect_of"]): row for row in sweep.findings().to_table().to_pylist()}
    shown = sweep.findings(["F5"]).to_table().to_pylist()
    assert shown
    assert {row["claim"] for row in shown} == {"F5"}
    assert all(row == every[row["claim"], row["rule"], row["effect_of"]] for row in shown)


def test_rows_hold_every_effect(sweep):
    found = sweep.findings(["F3", "f5"])
    table = found.to_table()
    assert table.schema == SCHEMA
    assert table["claim"].to_pylist() == ["F3", "F5"]
    assert all(
        low <= value <= high
        for low, value, high in zip(*(table[c].to_pylist() for c in ("low", "effect", "high")), strict=True)
    )


@pytest.mark.slow
def test_sweep_that_can_answer_nothing_says_what_it_lacks_and_who_has_it(silent):
    found = silent.findings().to_dict()["claims"]
    assert [one["shipped"] for one in found] == ["tradeoff", "growth", "occlusion", "reaction-time", "tradeoff"]
    assert all(one["missing"] and not one["parts"] for one in found)
    said = {one["claim"]: "; ".join(one["missing"]) for one in found}
    assert "depth_pressure, time_pressure are not varied" in said["F1"]
    assert "1 of the 4 tasks" in said["F2"]
    assert "confidence or state" in said["F3"]
    assert "debris or occlude_grey, occlude_beside, contrast, noise, blank" in said["F3"]
    assert "--human FILE" in said["F4"]
    assert "without lateral, top-down, deepest" in said["F5"]


@pytest.mark.slow
def test_networks_whose_probes_are_not_all_stored_are_not_taken_for_all(sweep, asked):
    lost = sweep.records[0].key

    class Forgetful(MlflowReader):
        def artifact(self, path):
            return None if path == f"probes/{lost}.parquet" else super().artifact(path)

    found = type(sweep)(Forgetful(asked, "asked")).findings(["F3", "F5"]).findings
    assert all("what 1 of its 20 networks do with each image is not stored" in one.missing for one in found)


@pytest.mark.parametrize(
    ("claims", "words"), [(["F9"], "'F9'"), (["f11"], "Did you mean 'F1'?"), (["trade"], "'trade'")]
)
@pytest.mark.slow
def test_claim_that_there_is_not_is_refused(sweep, claims, words):
    with pytest.raises(QueryError, match=re.escape(words)):
        sweep.findings(claims)


# Pictures.


@pytest.mark.slow
def test_pictures_that_are_listed_can_be_drawn_and_no_others(sweep, silent, human):
    task = sweep.tasks[0]
    listed = [name for name in titles_of(sweep, task) if name in FINDINGS]
    assert listed == ["finding-occlusion", "finding-reaction-time", "finding-diversity"]
    for name in listed:
        picture = sweep.picture(name, human=human if name == "finding-reaction-time" else ())
        assert picture.name == name
        assert picture.figure.to_json()
    for name in set(FINDINGS) - set(listed):
        with pytest.raises(NotDrawnError, match=f"^{name} cannot be drawn: "):
            sweep.picture(name)
    assert not [name for name in titles_of(silent, silent.tasks[0]) if name in FINDINGS]
    with pytest.raises(NotDrawnError, match="The shipped sweep growth has what it takes"):
        silent.picture("finding-growth")


@pytest.mark.slow
def test_listing_pictures_reads_no_probes(sweep, asked):
    class Reader(MlflowReader):
        def artifact(self, path):
            assert not path.startswith("probes/"), path
            return super().artifact(path)

    assert "finding-occlusion" in titles_of(type(sweep)(Reader(asked, "asked")), sweep.tasks[0])


@pytest.mark.slow
def test_human_data_go_with_one_picture_alone(sweep, human):
    with pytest.raises(QueryError, match="finding-diversity"):
        sweep.plot("finding-diversity", human=human)
    with pytest.raises(QueryError, match="--human FILE"):
        sweep.plot("finding-reaction-time")
    with pytest.raises(QueryError, match=r"human=\['answers.csv'\]"):
        sweep.plot("finding-reaction-time", human="answers.csv")


def finding_of(claim, parts, described=()):
    return replace(decided(parts), claim=claim, described=tuple(described))


def made(claim):
    """Return a finding about made-up networks, with two halting rules where that is quick."""
    if claim == "F1":
        return finding_of(
            claim, [p for rule in ("confidence", "state") for p in tradeoffs.parts(traded_networks(), "digits", rule)]
        )
    if claim == "F2":
        networks = climbed()
        return finding_of(claim, growth.parts(networks, growth.ladder_of(networks), "confidence"))
    if claim == "F3":
        return finding_of(
            claim, [p for rule in ("confidence", "state") for p in occlusion.parts(*occluded(), "digits", rule)]
        )
    if claim == "F4":
        difficulty = people(images=400)
        parts = reaction_times.by_image(*of_people(difficulty), difficulty, "digits", "state", draws=50)
        return finding_of(claim, parts)
    return finding_of(claim, diversity.parts(*graphs(), "digits", "confidence"))


@pytest.fixture(scope="module")
def drawn():
    return {
        claim: (finding, picture_of_finding(finding, "digits"))
        for claim in ("F1", "F2", "F3", "F4", "F5")
        for finding in [made(claim)]
    }


@pytest.mark.parametrize("claim", ["F1", "F2", "F3", "F4", "F5"])
def test_picture_has_every_panel_within_the_page_and_no_ink_of_its_own(drawn, claim):
    _, picture = drawn[claim]
    figure = json.loads(picture.figure.to_json())
    domains = [value["domain"] for name, value in figure["layout"].items() if re.fullmatch(r"[xy]axis\d*", name)]
    assert all(0 <= low < high <= 1 for low, high in domains)
    assert all("color" not in one["font"] for one in figure["layout"]["annotations"])
    assert picture.caption.endswith(".")


def words_of(picture):
    return " ".join(one["text"] for one in picture.figure.to_plotly_json()["layout"]["annotations"])


def test_trade_offs_are_drawn_with_what_arithmetic_gives(drawn):
    finding, picture = drawn["F1"]
    part = finding.parts[0]
    keys = [key for trace in picture.sketch.traces for (key,) in trace["customdata"]]
    assert len(keys) == 6 * part.networks, "every network of the band is in each of the three panels of both rules"
    assert f"arithmetic alone {interval(part.numbers['by_arithmetic'])}" in words_of(picture)
    assert interval(-part.effect.value, -part.effect.high, -part.effect.low) in words_of(picture)


def test_growth_is_drawn_both_ways_in_the_order_of_complexity_with_accuracy_beside(drawn):
    finding, picture = drawn["F2"]
    ladder = [f"classes={2 + 2 * at}" for at in range(5)]
    named = {trace["name"]: trace for trace in picture.sketch.traces}
    assert set(named) == {
        "at fixed pressures",
        "at fixed accuracy",
        "networks",
        "regression on pixels",
        "nearest neighbour",
    }
    assert list(named["networks"]["x"]) == ladder
    for part in finding.parts:
        assert [row["task"] for row in part.numbers["ladder"]] == ladder
        assert len(part.numbers["blocks"]) == 6
        for row in part.numbers["ladder"]:
            for column in ("at_fixed_pressures", "at_fixed_accuracy", "accuracy"):
                low, high = row[f"{column}_interval"]
                assert low <= row[column] <= high


def test_occlusion_is_drawn_with_every_probe_and_its_controls(drawn):
    finding, picture = drawn["F3"]
    names = {name for trace in picture.sketch.traces for name in trace["y"]}
    shown = {
        f"{one['probe']} {one['level']:g}" for one in finding.parts[0].numbers["probes"] if one["probe"] != "whole"
    }
    assert names == shown | {"occluder − beside", "… at equal confidence", "… beyond any change"}
    effect = next(trace for trace in picture.sketch.traces if trace["name"] == "effect")
    assert effect["x"] == [100 * finding.parts[0].effect.value]


def test_reaction_times_are_drawn_with_baselines_and_ceiling(drawn):
    finding, picture = drawn["F4"]
    names = {name for trace in picture.sketch.traces for name in trace["y"]}
    assert {
        "steps",
        "confidence of the first step",
        "brightness of the picture",
        "steps of feed-forward networks",
    } <= names
    ceiling = next(trace for trace in picture.sketch.traces if trace["name"] == "ceiling")
    assert set(ceiling["x"]) == {finding.parts[0].numbers["ceiling"]}


def test_networks_are_drawn_as_far_apart_as_they_are(drawn):
    finding, picture = drawn["F5"]
    (part,) = finding.parts
    assert 0 < part.numbers["map_share"] <= 1
    assert sum(len(trace["x"]) for trace in picture.sketch.traces) == part.networks == len(part.numbers["map"])
    assert {trace["name"] for trace in picture.sketch.traces} == {f"p={at}" for at in range(5)}


def test_effects_of_another_task_are_not_drawn(drawn):
    with pytest.raises(NotDrawnError):
        picture_of_finding(drawn["F3"][0], "another")
    networks = traded_networks()
    networks.limited["time"][:] = True
    walled = finding_of("F1", tradeoffs.parts(networks, "digits", "confidence"))
    with pytest.raises(NotDrawnError, match="0 of 120 networks"):
        picture_of_finding(walled, "digits")
    with pytest.raises(NotDrawnError, match=r"a thing\. The shipped sweep occlusion"):
        picture_of_finding(Finding("F3", "", missing=("a thing",)), "digits")


def test_points_at_one_place_stand_beside_each_other():
    x, y = apart([1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 5.0])
    assert len(set(zip(x, y, strict=True))) == 4
    assert (x[0], y[0], x[3], y[3]) == (1, 1, 2, 5)
    assert all(abs(a - 1) < 0.1 for a in x[:3])


def test_numbers_are_written_as_people_write_them():
    assert interval(-0.5, -1, 0.25) == "−0.50 (−1.00 to 0.25)"
    assert interval(-0.001) == "0.00"
    assert interval(math.nan) == interval(None) == "not known"


def test_probes_are_known_from_what_was_measured_under_them():
    values = {
        name: [1.0, math.nan]
        for name in (
            "probe.debris.0.25.time",
            "probe.whole.0.time",
            "probe.noise.1e-05.time",
            "lesion.lateral.accuracy",
        )
    }
    values["probe.blank.1.time"] = [math.nan, math.nan]
    assert networks_of(breadth=[1, 2], values=values).probes == {("debris", 0.25), ("whole", 0), ("noise", 1e-5)}


# The report.


@pytest.mark.slow
def test_report_has_verdicts_controls_and_figures(sweep, human):
    page = report(sweep, human)
    section = page[page.index('<section id="findings">') : page.index('<section id="trials"')]
    for claim in ("F1", "F2", "F3", "F4", "F5"):
        assert f"<h3>{claim}: " in section
    assert "The shipped sweep growth has what it takes." in section
    assert "equal confidence, " in section
    figures = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])[
        "figures"
    ]
    for name in re.findall(r'data-figure="([^"]*)"', section):
        assert name in figures
    assert {name.rsplit("/", 1)[1] for name in figures} >= {
        "finding-occlusion",
        "finding-diversity",
        "finding-reaction-time",
    }


@pytest.mark.slow
def test_report_of_a_sweep_that_answers_nothing_has_one_line(silent):
    page = report(silent)
    section = page[page.index('<section id="findings">') : page.index('<section id="trials"')]
    assert section.count("<p>") == 1
    assert "<code>sweeper findings silent</code>" in section
    assert "<h3>" not in section


def test_trials_that_have_not_ended_are_counted_and_said():
    recorder = MemoryRecorder()
    recorder.open(replace(FACTS, name="small", aims=aims(OBJECTIVES, REFERENCE)))
    recorder.record(replace(a_late_trial(1), sweep="small"))
    sweep = LoadedSweep(MemoryReader(recorder, "small"))
    assert sweep.unfinished == 0, "its tracker does not say"
    rows = (TaskState("digits-10", 8, complete=3, pruned=1, running=2), TaskState("digits-5", 2, failed=2))
    recorder.record_live(LiveState("small", rows, written_ms=1))
    found = LoadedSweep(MemoryReader(recorder, "small")).findings()
    assert found.unfinished == found.to_dict()["unfinished"] == 4
    assert said_of_unfinished(4).startswith("4 trials have not ended yet")
    assert (said_of_unfinished(1).startswith("1 trial has"), said_of_unfinished(0)) == (True, "")
