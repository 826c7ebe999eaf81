"""Columns and their units: the page that documents them and the tables say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeper.analysis.columns import ANSWER, AXES, ORIGIN, POINT, TRIAL, WALL_COLUMNS, unit
from sweeper.analysis.points import axis_column, points_table
from sweeper.analysis.trials import trials_table
from sweeper.measurements import MEASUREMENTS, WALLS
from sweeper.spec.setting import SECTIONS, Pressures
from tests.analysis.test_fronts import OBJECTIVES, a_trial

PAGE = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
SECTIONS_OF_PAGE = {
    "Before every exported row": ORIGIN,
    "Points: which setting": POINT,
    "Trials: which one, and how it ended": TRIAL,
    "Parameters": AXES,
    "Measurements": MEASUREMENTS,
    "Walls and layers": WALL_COLUMNS,
    "Answers": ANSWER,
}


@pytest.mark.parametrize("title", SECTIONS_OF_PAGE)
def test_page_documents_every_column_with_unit_and_meaning_as_the_program_knows_them(title):
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    known = [(name, unit or "–", meaning) for name, (unit, meaning) in SECTIONS_OF_PAGE[title].items()]
    assert rows == known


def test_page_has_no_section_that_is_not_compared():
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE) == list(SECTIONS_OF_PAGE)


def test_every_column_of_points_and_trials_is_documented():
    documented = {**POINT, **MEASUREMENTS, **WALL_COLUMNS}
    trial = a_trial(axes={})
    spreads = {f"{objective.name}_sd" for objective in OBJECTIVES}
    assert set(points_table([trial], OBJECTIVES).column_names) == {*documented, *spreads}
    assert set(trials_table([trial]).column_names) == {*TRIAL, *MEASUREMENTS, *WALL_COLUMNS}
    assert set(WALLS) < set(WALL_COLUMNS)


def test_every_parameter_of_a_setting_is_documented_and_no_other():
    names = [name for section in (*SECTIONS.values(), Pressures) for name in section.model_fields]
    assert list(AXES) == names


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_spread_has_the_unit_of_its_objective(name):
    assert unit(f"{name}_sd") == unit(name) == MEASUREMENTS[name][0]


def test_axis_named_like_a_measurement_has_a_unit_of_its_own():
    assert (unit(axis_column("memory_mib")), unit(axis_column("channels")), unit("setting.channels")) == (
        "MiB",
        "channels",
        "channels",
    )
    assert unit("no such column") == unit("key") == ""
