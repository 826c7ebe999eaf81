"""A user's own costs and measures in a spec: their pressures, keys and names."""

from __future__ import annotations

import pytest

from sweeper.errors import SpecError
from sweeper.spec import LatticeSetting, load_spec, refused_differences, setting_of, spec_from_json

SPEC = """
name: wires
task: {data: digits}
costs: {wiring: my_costs:wiring, energy: costs.brain:energy}
parameters:
  time_pressure: {value: 0.02}
  wiring_pressure: {values: [0, 0.001]}
  energy_pressure: {distribution: log_uniform_values, min: 1.0e-3, max: 1.0e-1}
search: {trials: 3, subject_to: cost_energy <= 5}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: cost_wiring, goal: minimize}
reference_point: {accuracy: 0, cost_wiring: 500}
"""


def load(tmp_path, text=SPEC, name="wires.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return load_spec(path)


def refusal(tmp_path, text):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_cost_has_a_pressure_that_is_varied_or_searched_like_any_other(tmp_path):
    loaded = load(tmp_path)
    spec = loaded.spec
    assert loaded.folder == str(tmp_path)
    assert spec.added_units == {"cost_wiring": "cost", "cost_energy": "cost"}
    assert spec.own_sources == {"costs.wiring": "my_costs:wiring", "costs.energy": "costs.brain:energy"}
    assert spec.trains_side_by_side
    assert [cell.own_pressures for cell in spec.cells()] == [
        {"wiring": 0.0, "energy": 1e-3},
        {"wiring": 0.001, "energy": 1e-3},
    ]
    proposed = spec.proposed(spec.cells()[1], {"energy_pressure": 0.05})
    assert spec.axes_of(proposed) == {"wiring_pressure": 0.001, "energy_pressure": 0.05}
    assert len({setting.group_key for setting in (proposed, *spec.cells())}) == 1, "a population may hold them all"
    assert spec_from_json(spec.to_json()) == spec


def test_key_holds_the_functions_name_and_its_pressure_and_is_read_back(tmp_path):
    first, second = load(tmp_path).spec.cells()
    flat = second.flat()
    assert (flat["costs.wiring"], flat["wiring_pressure"]) == ("my_costs:wiring", 0.001)
    assert setting_of(flat) == second
    other = second.model_copy(update={"costs": {**second.costs, "wiring": "my_costs:length"}})
    assert len({first.key, second.key, other.key}) == 3
    assert other.group_key != second.group_key


def test_spec_without_costs_and_measures_says_nothing_of_them(tmp_path):
    text = "task: {data: digits}\nobjectives: [{name: time, goal: minimize}]\nreference_point: {time: 7}\n"
    loaded = load(tmp_path, text, "plain.yaml")
    assert {"costs", "measures"}.isdisjoint(loaded.spec.identity())
    assert loaded.folder == ""
    assert LatticeSetting().key == "ae8ccf47922d278d"
    assert not any(name.startswith("cost") for name in LatticeSetting().flat())


def test_another_function_is_another_sweep(tmp_path):
    spec = load(tmp_path).spec
    other = load(tmp_path, SPEC.replace("my_costs:wiring", "my_costs:length")).spec
    assert refused_differences(spec, other) == ['costs.wiring: "my_costs:wiring" -> "my_costs:length"']


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("my_costs:wiring", "my_costs.wiring", "must be named as module:function, but got"),
        ("costs: {wiring:", "costs: {Wiring:", "'Wiring' cannot be a name here"),
        ("costs: {wiring:", "costs: {time:", "'time' must not be the name of something that there is already"),
        ("wiring_pressure:", "wire_pressure:", "Did you mean 'wiring_pressure'?"),
        ("cost_energy <= 5", "cost_enrgy <= 5", "Did you mean 'cost_energy'?"),
        ("name: cost_wiring", "name: wiring", "an objective must name a measurement"),
        ("values: [0, 0.001]", "values: [0, -1]", "wiring_pressure must be at least 0"),
        ("values: [0, 0.001]", "values: [0, 1.0e+9]", "wiring_pressure must be at most 1e+06"),
        ("costs: {wiring", "measures: {noise: {unit: share, of: my:noise}}\ncosts: {wiring", "'noise' must not be the"),
        (
            "costs: {wiring",
            "measures: {cost_x: {unit: share, of: my:x}}\ncosts: {wiring",
            "must not read like a spread",
        ),
        ("costs: {wiring", "measures: {x: share}\ncosts: {wiring", "measures.x"),
        ("costs: {wiring", "costs: [wiring]\nprobes: {wiring", "costs must"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(tmp_path, old, new, says):
    assert says in refusal(tmp_path, SPEC.replace(old, new, 1))


FOGGY = """
name: foggy
task: {data: digits, degradation: "weather.fog:fog", level: 2.5}
probes: {"weather.fog:fog": [7, 0.5], "rain:rain": 1, blank: 1}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 7}
"""


def test_degradation_of_ones_own_stands_beside_the_built_in_ones(tmp_path):
    loaded = load(tmp_path, FOGGY)
    spec = loaded.spec
    (setting,) = spec.settings()
    assert (setting.task.degradation, setting.task_label) == ("weather.fog:fog", "digits-fog2.5")
    assert setting_of(setting.flat()) == setting
    assert spec.beside.probes == (("fog", 0.5), ("fog", 7.0), ("rain", 1.0), ("blank", 1.0))
    assert spec.own_probes == {"fog": "weather.fog:fog", "rain": "rain:rain"}
    assert spec.own_sources == {
        "task.degradation": "weather.fog:fog",
        "probes.fog": "weather.fog:fog",
        "probes.rain": "rain:rain",
    }
    assert (loaded.folder, spec.has_own_images) == (str(tmp_path), True)
    assert spec_from_json(spec.to_json()) == spec
    clear = load(tmp_path, FOGGY.replace("level: 2.5", "level: 0")).spec
    assert not clear.has_own_images
    assert set(clear.own_sources) == {"probes.fog", "probes.rain"}
    plain = load(tmp_path, FOGGY.replace("weather.fog:fog", "debris").replace("2.5", "0.5").replace("7, 0.5", "0.5"))
    assert not plain.spec.has_own_images


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('degradation: "weather.fog:fog"', "degradation: fog", "a degradation must be one of occlude_grey, "),
        ('degradation: "weather.fog:fog"', "degradation: deris", "Did you mean 'debris'?"),
        ('degradation: "weather.fog:fog"', "degradation: 3", "or a function of your own, as module:function"),
        (
            'degradation: "weather.fog:fog"',
            'degradation: "my:blur"',
            "must not have the name of a built-in degradation",
        ),
        ('"rain:rain": 1', '"rain:whole": 1', "must not have the name of a built-in degradation"),
        ('"rain:rain": 1', '"rain:fog": 1', "degradations must have different names, but two are called 'fog'"),
        ('"rain:rain": 1', '"rain:rain": 0', "must be greater than 0"),
    ],
)
def test_degradation_that_cannot_be_is_refused_at_its_place(tmp_path, old, new, says):
    assert says in refusal(tmp_path, FOGGY.replace(old, new))
