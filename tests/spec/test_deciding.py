"""Measurements on the test images decide nothing: no spec can use one as an objective or a criterion."""

from __future__ import annotations

import pytest

from sweeper.errors import SpecError
from sweeper.measurements import DECIDING, MEASUREMENTS, deciding_twin
from sweeper.spec import load_spec

SPEC = """
task: {{data: digits}}
parameters:
  time_pressure: {{min: 0, max: 1}}
search: {{trials: 5, {search}}}
objectives: [{{name: {objective}, goal: maximize}}, {{name: time, goal: minimize}}]
reference_point: {{{objective}: 0, time: 7}}
"""

TESTED = sorted(MEASUREMENTS.keys() - DECIDING.keys())


def test_every_test_value_has_a_twin_that_decides():
    assert TESTED == ["test_accuracy", "test_accuracy_se", "test_loss", "test_time"]
    assert {deciding_twin(name) for name in TESTED} <= DECIDING.keys()


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("place", ["objectives", "subject_to", "maximize", "minimize"])
def test_test_value_is_refused_with_the_one_that_decides(tmp_path, name, place):
    search = {"objectives": "sampler: tpe", "subject_to": f"subject_to: {name} >= 0.5"}.get(place, f"{place}: {name}")
    path = tmp_path / "a.yaml"
    path.write_text(SPEC.format(search=search, objective=name if place == "objectives" else "accuracy"))
    told = rf"measured on the test images, which decide nothing.*{place}.*Use {deciding_twin(name)}\."
    with pytest.raises(SpecError, match=told):
        load_spec(path)
