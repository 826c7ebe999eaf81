"""Columns and their units: the documented columns are those of the tables."""

from __future__ import annotations

import pytest

from sweeper.analysis.columns import ANSWER, AXES, ORIGIN, POINT, TRIAL, WALL_COLUMNS, unit
from sweeper.analysis.points import axis_column, points_table
from sweeper.analysis.trials import trials_table
from sweeper.measurements import MEASUREMENTS, WALLS
from sweeper.spec.setting import SECTIONS, PressuresSpec
from tests.analysis.test_fronts import OBJECTIVES, a_trial


@pytest.mark.parametrize("names", [ORIGIN, POINT, TRIAL, AXES, WALL_COLUMNS, ANSWER, MEASUREMENTS, WALLS])
def test_column_is_kept_under_its_own_name(names):
    assert [one.name for one in names.values()] == list(names)


def test_measurement_has_no_name_of_a_parameter_or_another_column():
    """Readers tell axes from measurements by their names, also in stored sweeps, so the overlap must not grow."""
    assert set(MEASUREMENTS) & set(AXES) == {"channels", "updates", "epochs"}
    assert not (set(MEASUREMENTS) | set(WALLS)) & {*ORIGIN, *POINT, *TRIAL, *ANSWER}


def test_every_column_of_points_and_trials_is_documented():
    documented = {**POINT, **MEASUREMENTS, **WALL_COLUMNS}
    trial = a_trial(axes={}, codes=("of the user",))
    spreads = {f"{objective.name}_sd" for objective in OBJECTIVES}
    assert set(points_table([trial], OBJECTIVES).column_names) == {*documented, *spreads}
    assert set(trials_table([trial]).column_names) == {*TRIAL, *MEASUREMENTS, *WALL_COLUMNS}
    assert set(WALLS) < set(WALL_COLUMNS)


def test_every_parameter_of_a_setting_is_documented_and_no_other():
    names = [name for section in (*SECTIONS.values(), PressuresSpec) for name in section.model_fields]
    assert list(AXES) == names


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_spread_has_the_unit_of_its_objective(name):
    assert unit(f"{name}_sd") == unit(name) == MEASUREMENTS[name].unit


def test_axis_named_like_a_measurement_has_a_unit_of_its_own():
    assert (unit(axis_column("memory_mib")), unit(axis_column("channels")), unit("setting.channels")) == (
        "MiB",
        "channels",
        "channels",
    )
    assert unit("no such column") == unit("key") == ""
