"""The spec: first properties of settings and keys, then every refusal with its value, line and key."""

from __future__ import annotations

import json
import math
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeper.errors import SpecError
from sweeper.measurements import Goal, Objective
from sweeper.spec import (
    BottomUp,
    Connections,
    DegradationKind,
    LatticeSetting,
    LatticeSpec,
    LatticeSweep,
    Solver,
    Standardize,
    TaskSpec,
    TimeSelection,
    TrainingSpec,
    check_name,
    differences,
    labels_of,
    load_spec,
    placement_changes,
    refused_differences,
    shipped_spaces,
    spec_from_json,
)
from sweeper.spec.yaml_source import from_mapping

GOOD = """\
task: {data: digits}
parameters:
  classes: {values: [10, 3]}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: time, goal: minimize}
reference_point: {accuracy: 0.0, time: 7}
"""

REST = {
    "name": "sweep",
    "objectives": [{"name": "time", "goal": "minimize"}],
    "reference_point": {"time": 7},
}

prices = st.floats(0, 1e6)
positive = st.floats(1e-9, 1e6)
counts = st.integers(1, 10_000)

tasks = st.builds(
    TaskSpec,
    data=st.sampled_from(["digits", "/images/mnist_train.parquet"]),
    classes=st.none() | st.integers(2, 10) | st.sets(st.integers(0, 9), min_size=2).map(list),
    occlusion=st.floats(0, 0.99),
    noise=prices,
    degradation=st.sampled_from(DegradationKind),
    level=st.floats(0, 1),
    standardize=st.sampled_from(Standardize),
    train_images=st.none() | counts,
    validation_images=st.none() | counts,
    test_images=st.none() | counts,
)
lattice_kinds = st.fixed_dictionaries({"bottom_up": st.sampled_from(BottomUp)}) | st.just({
    "bottom_up": BottomUp.NEXT,
    "connections": Connections.FEED_FORWARD,
})
lattices = st.builds(
    lambda kind, **sizes: LatticeSpec(**sizes, **kind),
    lattice_kinds,
    channels=st.integers(1, 1024),
    layers=st.integers(5, 64),
    steps=st.integers(1, 256),
    kernel=st.sampled_from([1, 3, 5]),
    halve=st.sets(st.integers(2, 5)).map(tuple),
    time_selection=st.sampled_from(TimeSelection),
)
trainings = st.builds(
    TrainingSpec,
    epochs=counts,
    batch_size=counts,
    learning_rate=positive,
    solver=st.sampled_from(Solver),
    step_loss=prices,
) | st.builds(TrainingSpec, updates=counts, until=st.sampled_from(["budget", "settled"]))
settings_of_any_kind = st.builds(
    LatticeSetting,
    task=tasks,
    lattice=lattices,
    training=trainings,
    breadth_pressure=prices,
    depth_pressure=prices,
    time_pressure=prices,
    seed=st.integers(0, 2**31 - 1),
)


def labels_text(labels):
    return ",".join(map(str, labels))


AXES = {
    "time_pressure": prices,
    "solver": st.sampled_from(["elimination", "proximal", "backprop"]),
    "classes": st.integers(2, 10) | st.sets(st.integers(0, 9), min_size=2).map(sorted).map(labels_text),
    "standardize": st.sampled_from(["images", "each", "none"]),
    "steps": st.integers(1, 256),
    "occlusion": st.floats(0, 0.9),
    "breadth_pressure": prices,
    "learning_rate": positive,
    "updates": counts,
}


def axis(name):
    return st.lists(AXES[name], min_size=1, max_size=3, unique=True)


@st.composite
def sweeps(draw):
    names = draw(st.lists(st.sampled_from(sorted(AXES)), unique=True, max_size=4))
    parameters = {
        name: {"values": draw(axis(name))} if draw(st.booleans()) else {"value": draw(AXES[name])} for name in names
    }
    document = {**REST, "parameters": parameters, "replicates": draw(st.integers(1, 3)), "seed": draw(counts)}
    return LatticeSweep.model_validate(document)


def load(tmp_path, text, name="small.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_spec(path)


def refusal(tmp_path, text):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


# Budgets


def test_training_is_given_by_its_epochs_or_by_its_updates(tmp_path):
    text = "training: {epochs: 3, updates: 420}\n" + GOOD
    refused = "epochs must be left out where updates are given (420), but got epochs=3"
    assert refused in refusal(tmp_path, text)
    text = GOOD.replace("parameters:\n", "training: {epochs: 3}\nparameters:\n  updates: {values: [100, 200]}\n")
    assert "epochs must be left out where updates are given" in refusal(tmp_path, text)
    spec = load(tmp_path, "training: {updates: 420}\n" + GOOD).spec
    assert {name for name in spec.settings()[0].flat() if name.endswith(("epochs", "updates"))} == {"training.updates"}
    assert "training.updates" not in load(tmp_path, GOOD).spec.settings()[0].flat()


@pytest.mark.parametrize(("updates", "rounds"), [(1, 1), (100, 1), (101, 2), (420, 5)])
def test_updates_are_divided_into_rounds_of_a_hundred(updates, rounds):
    assert TrainingSpec(updates=updates).rounds == rounds
    assert TrainingSpec(epochs=updates).rounds == updates


def test_rungs_are_in_the_unit_of_the_budget(tmp_path):
    stopping = "early_stopping: {min_updates: 150, factor: 2}\n"
    rule = load(tmp_path, "training: {updates: 1000}\n" + stopping + GOOD).spec.early_stopping
    assert rule.rungs(10) == (2, 4, 8)
    assert "early_stopping must have min_epochs, because trainings are given by their epochs" in refusal(
        tmp_path, stopping + GOOD
    )
    for both in ("{factor: 2}", "{min_epochs: 2, min_updates: 100}"):
        assert "must have one of min_epochs and min_updates" in refusal(tmp_path, f"early_stopping: {both}\n" + GOOD)


# Settings and their keys


@given(settings_of_any_kind)
def test_setting_flattened_and_read_back_is_the_same(setting):
    again = LatticeSetting.from_flat(setting.flat())
    assert again == setting
    assert (again.key, again.setting_key, again.group_key) == (
        setting.key,
        setting.setting_key,
        setting.group_key,
    )


@given(settings_of_any_kind)
def test_setting_flattened_holds_plain_values_only(setting):
    assert {type(value) for value in setting.flat().values()} <= {str, int, float, bool}


@given(settings_of_any_kind, st.data())
def test_key_with_any_field_changed_differs(setting, data):
    other = data.draw(settings_of_any_kind)
    names = set(setting.flat()) & set(other.flat())
    if "lattice.connections" in setting.flat():
        names.remove("lattice.bottom_up")  # `connections` needs a certain `bottom_up`
    name = data.draw(st.sampled_from(sorted(names)))
    changed = LatticeSetting.from_flat({**setting.flat(), name: other.flat()[name]})
    assert (changed.key == setting.key) == (changed == setting)
    assert (changed.setting_key == setting.setting_key) == (changed == setting or name == "seed")
    assert (changed.group_key == setting.group_key) == (changed == setting or "." not in name)


@given(settings_of_any_kind)
def test_key_is_sixteen_hexadecimal_digits(setting):
    for key in (setting.key, setting.setting_key, setting.group_key):
        assert len(key) == 16
        assert int(key, 16) >= 0


def test_key_of_equal_numbers_is_the_same():
    assert LatticeSetting(time_pressure=1).key == LatticeSetting(time_pressure=1.0).key
    assert LatticeSetting(time_pressure=-0.0).key == LatticeSetting(time_pressure=0.0).key


def test_key_of_default_setting_is_stable():
    # A change here makes every finished trial of every user run again.
    assert LatticeSetting().key == "ae8ccf47922d278d"


def test_key_of_a_lattice_with_all_connections_is_as_before_there_was_a_choice():
    setting = LatticeSetting(lattice=LatticeSpec(bottom_up="next"))
    said = LatticeSetting(lattice=LatticeSpec(bottom_up="next", connections="all"))
    assert (said, said.flat(), said.key) == (setting, setting.flat(), setting.key)
    assert "lattice.connections" not in setting.flat()
    assert setting.key == "14b399dd1a7eb404"  # its key before this field existed
    feed_forward = LatticeSetting(lattice=LatticeSpec(bottom_up="next", connections="feed_forward"))
    assert feed_forward.flat() == {**setting.flat(), "lattice.connections": "feed_forward"}
    assert len({feed_forward.key, setting.key}) == 2


@pytest.mark.parametrize("values", [["all", "feed_forward"], ["feed_forward", "all"]])
def test_connections_may_be_a_grid_axis_and_come_back_from_every_form(tmp_path, values):
    lattice = "lattice: {bottom_up: next}\n"
    text = GOOD.replace("[10, 3]}", f"[10]}}\n  connections: {{values: [{', '.join(values)}]}}") + lattice
    spec = load(tmp_path, text).spec
    assert [str(setting.lattice.connections) for setting in spec.settings()] == values
    assert [spec.axes_of(setting)["connections"] for setting in spec.settings()] == values
    assert len({spec.cell_of(setting) for setting in spec.settings()}) == 2
    read = spec_from_json(spec.to_json())
    assert (read, read.settings()) == (spec, spec.settings())
    assert [LatticeSetting.from_flat(setting.flat()) for setting in spec.settings()] == spec.settings()
    # The settings of an older sweep, without the choice, are among those of the axis.
    before = load(tmp_path, GOOD.replace("[10, 3]", "[10]") + lattice).spec
    assert before.settings()[0].key in {setting.key for setting in spec.settings()}


def test_connections_that_fit_one_bottom_up_of_an_axis_only_are_refused_where_they_stand(tmp_path):
    axis = GOOD.replace("[10, 3]}", "[10]}\n  bottom_up: {values: [next, within]}")
    told = refusal(tmp_path, axis + "lattice: {connections: feed_forward}\n")
    assert told == (
        "connections must be all where bottom_up is within, which it is where it is left out: all steps of a "
        "feed-forward network would be equal, but got connections=feed_forward in small.yaml, line 9, "
        "lattice.connections. Add `bottom_up: next` to `lattice`; a sweep over both values of bottom_up becomes two "
        "sweeps."
    )
    both = axis.replace("objectives:", "  connections: {values: [all, feed_forward]}\nobjectives:")
    assert "line 5, parameters.connections.values[1]. Add" in refusal(tmp_path, both)


def test_key_with_layers_to_halve_in_another_order_is_the_same():
    a, b = (LatticeSetting(lattice=LatticeSpec(halve=halve)) for halve in ((2, 3), (3, 2)))
    assert a.key == b.key


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ({"lattice.chanels": 3}, ["'chanels'", "lattice.chanels", "Did you mean 'channels'?"]),
        ({"seed": "3"}, ['seed="3"', "whole number"]),
        ({"lattice.halve": "2,x"}, ["halve=x", "lattice.halve[1]"]),
        ({"colour": 3}, ["colour=3", "'colour'"]),
    ],
)
def test_setting_from_wrong_flat_values_is_refused(flat, words):
    with pytest.raises(SpecError) as caught:
        LatticeSetting.from_flat(flat)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_labels_of_classes_may_be_a_grid_axis_and_come_back_from_every_form(tmp_path):
    axis = "parameters: {classes: {values: [10, [8, 3, 5], 3]}}"
    spec = load(tmp_path, f"{axis}\nobjectives: [{{name: time, goal: minimize}}]\nreference_point: {{time: 7}}\n").spec
    assert spec.axes == {"classes": (10, "3,5,8", 3)}
    assert spec.tasks == ("digits-10", "digits-3.5.8", "digits-3")
    assert spec_from_json(spec.to_json()) == spec
    for setting in spec.settings():
        assert LatticeSetting.from_flat(setting.flat()) == setting
    listed = spec.settings()[1]
    assert listed.key == LatticeSetting(task=TaskSpec(classes=(5, 8, 3))).key
    assert labels_of(listed.task.classes) == (3, 5, 8)


def test_setting_is_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        LatticeSetting().seed = 1


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (TaskSpec(), "digits"),
        (TaskSpec(classes=10), "digits-10"),
        (TaskSpec(data="/d/mnist_train.parquet", classes=10), "mnist-10"),
        (TaskSpec(data="/d/my images.parquet"), "my_images"),
        (TaskSpec(classes=3, occlusion=0.25, noise=0.1), "digits-3-occluded0.25-noise0.1"),
        (TaskSpec(classes=[8, 3, 5]), "digits-3.5.8"),
        (TaskSpec(classes=3, class_seed=7), "digits-3-set7"),
        (TaskSpec(degradation="debris", level=0.5, standardize="each"), "digits-debris0.5-standardize.each"),
        (
            TaskSpec(classes=3, train_images=500, validation_images=80, test_images=100),
            "digits-3-train500-validation80-test100",
        ),
    ],
)
def test_task_label_names_what_differs_from_the_default(task, label):
    assert task.label == label


# The sweep's grid


@given(sweeps())
def test_settings_are_the_product_of_axes_and_replicates(spec):
    settings = spec.settings()
    assert len(settings) == math.prod(map(len, spec.axes.values())) * spec.replicates
    assert len({setting.key for setting in settings}) == len(settings)
    assert len({setting.setting_key for setting in settings}) * spec.replicates == len(settings)


@given(sweeps())
def test_settings_of_one_group_and_of_one_task_are_adjacent(spec):
    groups = [key for key, _ in groupby(setting.group_key for setting in spec.settings())]
    labels = [key for key, _ in groupby(setting.task.label for setting in spec.settings())]
    assert len(groups) == len(set(groups))
    assert len(labels) == len(set(labels))
    assert tuple(labels) == spec.tasks


@given(sweeps())
def test_axes_of_a_setting_is_its_place_in_the_grid(spec):
    for setting in spec.settings():
        place = spec.axes_of(setting)
        assert list(place) == list(spec.axes)
        assert all(value in spec.axes[name] for name, value in place.items())


@given(sweeps())
def test_seeds_count_up_from_the_first_one(spec):
    seeds = [setting.seed for setting in spec.settings()]
    assert seeds == [spec.seed + number for number in range(spec.replicates)] * (len(seeds) // spec.replicates)


@given(sweeps())
def test_spec_written_and_read_back_is_the_same(spec):
    again = spec_from_json(spec.to_json())
    assert again == spec
    assert again.settings() == spec.settings()
    assert again.identity() == spec.identity()
    assert list(again.axes) == list(spec.axes)
    assert differences(again, spec) == []


@given(sweeps(), sweeps())
def test_differences_are_empty_only_for_equal_identities(one, other):
    assert (differences(one, other) == []) == (one.identity() == other.identity())
    assert differences(one, other) == sorted(differences(one, other))


def test_settings_order_is_task_lattice_training_pressures_whatever_the_file_says(tmp_path):
    text = GOOD.replace(
        "  classes: {values: [10, 3]}",
        "  time_pressure: {values: [1, 0.5]}\n  steps: {values: [4, 2]}\n  classes: {values: [10, 3]}",
    )
    spec = load(tmp_path, text).spec
    seen = [(s.task.classes, s.lattice.steps, s.time_pressure) for s in spec.settings()]
    assert seen == [(c, s, t) for c in (10, 3) for s in (4, 2) for t in (1.0, 0.5)]
    assert list(spec.axes) == ["time_pressure", "steps", "classes"]


def test_identity_leaves_out_name_description_and_placement(tmp_path):
    plain = load(tmp_path, GOOD).spec
    moved = load(tmp_path, GOOD + "name: other\ndescription: words\nplacement: {population: 3}\n").spec
    assert moved.identity() == plain.identity()
    assert moved != plain
    assert moved.placement.population == 3


def test_placement_takes_whole_cpus_and_gpus_and_fractions_and_comes_back_from_a_ledger(tmp_path):
    written = GOOD + "placement: {cpus: 0.5, gpus: 0.25, memory_mib: 2048}\n"
    placement = load(tmp_path, written).spec.placement
    assert (placement.cpus, placement.gpus, placement.memory_mib) == (0.5, 0.25, 2048)
    whole = load(tmp_path, GOOD + "placement: {cpus: 4, gpus: 2}\n").spec
    assert (whole.placement.cpus, whole.placement.gpus, whole.placement.memory_mib) == (4, 2, "auto")
    assert spec_from_json(whole.to_json()) == whole


def test_placement_is_no_part_of_a_trials_key_and_its_changes_are_told(tmp_path):
    plain = load(tmp_path, GOOD).spec
    moved = load(tmp_path, GOOD + "placement: {cpus: 2, gpus: 0.5, memory_mib: 512}\n").spec
    assert [setting.key for setting in moved.settings()] == [setting.key for setting in plain.settings()]
    assert refused_differences(plain, moved) == differences(plain, moved) == []
    assert placement_changes(plain, moved) == [
        "placement.cpus: 1.0 -> 2.0",
        'placement.gpus: "auto" -> 0.5',
        'placement.memory_mib: "auto" -> 512',
    ]
    assert placement_changes(moved, moved) == []


def test_constant_parameter_is_the_same_as_the_sections_field(tmp_path):
    in_section = load(tmp_path, GOOD + "lattice: {steps: 4}\n").spec
    as_parameter = load(tmp_path, GOOD.replace("parameters:", "parameters:\n  steps: {value: 4}")).spec
    assert as_parameter == in_section


def test_differences_name_key_planned_and_given_value(tmp_path):
    planned = load(tmp_path, GOOD).spec
    text = GOOD.replace("[10, 3]}", "[10, 2]}\n  steps: {value: 4}\n  time_pressure: {values: [1]}")
    assert differences(planned, load(tmp_path, text).spec) == [
        "lattice.steps: 6 -> 4",
        "parameters.classes.values: [10, 3] -> [10, 2]",
        "parameters.time_pressure.value: 0.0 -> absent",
        "parameters.time_pressure.values: absent -> [1.0]",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "x"}', "1" * 5000])
def test_stored_spec_that_is_none_is_refused(text):
    with pytest.raises(SpecError, match="the stored spec"):
        spec_from_json(text)


# Reading files


def test_load_reads_every_part(tmp_path):
    loaded = load(tmp_path, GOOD)
    assert loaded.text == GOOD
    assert loaded.path == tmp_path / "small.yaml"
    assert loaded.spec.name == "small"
    assert loaded.spec.axes == {"classes": (10, 3)}
    assert loaded.spec.objectives == (Objective("accuracy", Goal.MAXIMIZE), Objective("time", Goal.MINIMIZE))
    assert loaded.spec.reference_point == {"accuracy": 0.0, "time": 7.0}
    assert loaded.spec.tasks == ("digits-10", "digits-3")


def test_load_with_another_name_takes_it(tmp_path):
    path = tmp_path / "no name for a sweep.yaml"
    path.write_text(GOOD)
    assert load_spec(path, name="other-2").spec.name == "other-2"
    with pytest.raises(SpecError, match=r"no sweep can be called 'no name for a sweep' .*--name no-name-for-a-sweep$"):
        load_spec(path)


@pytest.mark.parametrize(
    ("stem", "like"),
    [("My Sweep (1)", "My-Sweep-1"), ("Größe-测试", "Groe"), ("测试", "my-sweep"), ("_x", "x"), ("a" * 120, "a" * 100)],
)
def test_name_that_no_sweep_can_have_is_refused_with_one_that_is_like_it(tmp_path, stem, like):
    file = tmp_path / f"{stem}.yaml"
    file.write_text(GOOD)
    with pytest.raises(SpecError, match=f"--name {re.escape(like)}$"):
        load_spec(file)
    assert load_spec(file, name=like).spec.name == like
    file.write_text(f"name: {stem}\n{GOOD}")
    with pytest.raises(SpecError, match=rf"Choose another name, such as {re.escape(like)}, here or with --name"):
        load_spec(file)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a\n", "é", "a" * 101])
def test_name_with_a_wrong_character_is_refused(name, tmp_path):
    with pytest.raises(SpecError) as caught:
        check_name(name)
    assert repr(name) in str(caught.value)
    with pytest.raises(SpecError):
        load_spec("smoke", name=name)


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e-3", 0.001), ("1E3", 1000.0), ("2e-1", 0.2), (".5", 0.5), ("3.", 3.0), ("+1", 1.0), ("-0.0", 0.0)],
)
def test_number_in_any_common_notation_is_a_number(tmp_path, written, number):
    text = GOOD.replace("  classes: {values: [10, 3]}", f"  time_pressure: {{values: [{written}]}}")
    assert load(tmp_path, text).spec.axes == {"time_pressure": (number,)}


def test_data_file_is_found_beside_the_spec(tmp_path):
    (tmp_path / "mnist_train.parquet").touch()
    (tmp_path / "mnist_test.parquet").touch()
    text = GOOD.replace("data: digits", "data: mnist_train.parquet, test: ./mnist_test.parquet")
    spec = load(tmp_path, text).spec
    assert spec.task.data == str(tmp_path.resolve() / "mnist_train.parquet")
    assert spec.task.test == str(tmp_path.resolve() / "mnist_test.parquet")
    assert spec.tasks == ("mnist-10", "mnist-3")


def test_stored_data_file_need_not_exist():
    task = TaskSpec(data="/nowhere/mnist.parquet")
    assert LatticeSetting.from_flat(LatticeSetting(task=task).flat()).task == task


def test_layers_may_vary_beside_a_halved_layer(tmp_path):
    text = GOOD.replace("[10, 3]}", "[10, 3]}\n  layers: {values: [5, 6]}") + "lattice: {halve: [5]}\n"
    assert [s.lattice.layers for s in load(tmp_path, text).spec.settings()] == [5, 6, 5, 6]


def test_anchors_are_read(tmp_path):
    text = GOOD.replace("[10, 3]}", "&few [10, 3]}\n  steps: {values: *few}")
    assert load(tmp_path, text).spec.axes == {"classes": (10, 3), "steps": (10, 3)}


@pytest.mark.parametrize("space", shipped_spaces())
def test_shipped_space_loads_by_bare_name(space):
    loaded = load_spec(space, is_elsewhere=True)
    assert loaded.spec.name == space
    assert loaded.spec.description
    assert load_spec(f"{space}.yaml", is_elsewhere=True) == loaded


def test_images_of_a_shipped_space_are_looked_for_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=re.escape(str(tmp_path / "mnist_train.parquet"))):
        load_spec("tradeoff-full")
    for name in ("mnist_train.parquet", "mnist_test.parquet"):
        (tmp_path / name).touch()
    assert load_spec("tradeoff-full").spec.task.data == str(tmp_path / "mnist_train.parquet")


def test_existing_file_wins_over_a_shipped_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()
    assert load_spec("smoke").spec.replicates == 1
    (tmp_path / "smoke.yaml").write_text(GOOD + "replicates: 7\n")
    assert load_spec("smoke.yaml").spec.replicates == 7


# Refusals of values: lines that are added to GOOD, and words of the message

ADDED = [
    (
        "lattice: {channels: 0}",
        ["channels must be at least 1", "channels=0", "line 8, lattice.channels", "Use 1 or more"],
    ),
    ("lattice: {channels: 1025}", ["channels=1025", "at most 1024"]),
    ("lattice:\n  steps: 3\n  layers: 65", ["layers=65", "line 10, lattice.layers"]),
    ("lattice: {steps: 2.0}", ["steps=2.0", "whole number"]),
    ("lattice: {steps: '3'}", ['steps="3"', "without quotes"]),
    ("lattice: {steps: true}", ["steps=true", "whole number"]),
    ("lattice: {steps: null}", ["steps=null", "whole number"]),
    ("lattice: {kernel: 4}", ["kernel=4", "odd", "Use 3 or 5"]),
    ("lattice: {halve: [4]}", ["halve=[4]", "layers=3", "lattice.halve"]),
    ("lattice: {halve: [1]}", ["halve=[1]"]),
    ("lattice: {halve: [2, 2]}", ["halve=[2, 2]", "once"]),
    ("lattice: {halve: 2}", ["halve=2", "must be a list"]),
    ("lattice: {time_selection: adaptiv}", ["time_selection=adaptiv", "fixed, confidence or state"]),
    ("lattice: {time_selection: adaptive}", ["time_selection=adaptive", "adaptive is called confidence now"]),
    ("lattice: {bottom_up: nxt}", ["bottom_up=nxt", "within or next"]),
    ("lattice: {connections: lateral}", ["connections=lateral", "all or feed_forward"]),
    (
        "lattice: {connections: feed_forward}",
        ["connections must be all where bottom_up is within", "connections=feed_forward", "Add `bottom_up: next`"],
    ),
    ("lattice: {bottom_up: within, connections: feed_forward}", ["all steps of a feed-forward network would be equal"]),
    (
        "lattice: {window: auto, bottom_up: next, connections: feed_forward}",
        ["connections must be all where the window is auto", "connections=feed_forward", "channels, layers and steps"],
    ),
    ("lattice: {chanels: 3}", ["'chanels'", "line 8, lattice.chanels", "Did you mean 'channels'?"]),
    ("lattice: 3", ["lattice=3", "line 8, lattice"]),
    ("training: {epochs: 0}", ["epochs=0"]),
    ("training: {learning_rate: 0}", ["learning_rate=0", "greater than 0"]),
    ("training: {learning_rate: .nan}", ["learning_rate=NaN", "finite"]),
    ("training: {step_loss: -1}", ["step_loss=-1", "at least 0"]),
    ("training: {step_loss: no}", ["step_loss=no", "must be a number"]),
    ("training: {step_loss: true}", ["step_loss=true"]),
    ("lattice: {window: auto, channels: 3}", ["channels must be left out where the window is auto", "channels=3"]),
    ("lattice: {window: large}", ["window=large", "fixed or auto"]),
    ("lattice: {window: auto, memory_mib: 0}", ["memory_mib=0", "at least 1"]),
    ("lattice: {memory_mib: 64}", ["memory_mib must go with a window that grows", "window: auto"]),
    ("lattice: {window: fixed, memory_mib: 64}", ["memory_mib=64"]),
    ("training: {solver: adam}", ["solver=adam", "elimination, proximal or backprop"]),
    ("training: {<<: 1}", ["the merge key <<", "Copy the keys"]),
    ("replicates: 0", ["replicates=0", "line 8, replicates"]),
    ("replicates: 99999", ["2 classes × 99999 replicates = 199998", "100000"]),
    ("seed: -1", ["seed=-1"]),
    ("seed: 2147483648", ["seed=2147483648"]),
    ("seed: 2147483647\nreplicates: 2", ["seed=2147483647", "line 8, seed"]),
    ("placement: {population: 0}", ["population=0", "auto"]),
    ("placement: {population: true}", ["population=true"]),
    ("placement: {cpus: 0}", ["cpus=0", "above 0", "line 8, placement.cpus"]),
    ("placement: {cpus: auto}", ["cpus=auto", "must be a number", "Use 1"]),
    ("placement: {cpus: true}", ["cpus=true"]),
    ("placement: {cpus: 0.33333}", ["cpus=0.33333", "four decimals", "Use 0.3333."]),
    ("placement: {cpus: .inf}", ["cpus="]),
    ("placement: {gpus: 1.5}", ["gpus=1.5", "a fraction below 1", "or a whole number", "placement.gpus"]),
    ("placement: {gpus: -1}", ["gpus=-1"]),
    ("placement: {gpus: true}", ["gpus=true"]),
    ("placement: {gpus: all}", ["gpus=all", "auto"]),
    ("placement: {memory_mib: -1}", ["memory_mib=-1", "auto or a whole number of MiB"]),
    ("placement: {memory_mib: 1.5}", ["memory_mib=1.5"]),
    ("placement: {memory_mib: 2 GiB}", ['memory_mib="2 GiB"', "Use auto"]),
    ("placement: {populaton: 1}", ["Did you mean 'population'?", "placement.populaton"]),
    ("name: a b", ['name="a b"', "line 8, name", "letters, digits"]),
    ("name: 3", ["name=3", "must be text"]),
    ("description: [x]", ["description="]),
    ("paramters: {}", ["'paramters'", "Did you mean 'parameters'?", "line 8, paramters"]),
]

#: Replacements of the values of `classes`, and words of the message.
CHANGED_PARAMETER = [
    ("[10, 1]", ["classes=1", "at least 2", "line 3, parameters.classes.values[1]"]),
    ("[11]", ["classes=11", "at most 10", "parameters.classes.values[0]"]),
    ("[10, 10]", ["classes=[10, 10]", "once"]),
    ("[10, '3']", ['classes="3"', "values[1]"]),
    ("[10, null]", ["classes=null", "values[1]"]),
    ("[[10]]", ["classes=[10]", "values[0]"]),
    ("[]", ["classes=[]", "empty", "at least one value"]),
    ("3", ["classes=3", "list", "parameters.classes.values"]),
    ("[3], value: 3", ["one way", '{"values": [3], "value": 3}']),
    ("[3], distribution: categorical", ["must not be searched", "cell of its own", "`classes: {values: [...]}`"]),
    ("[3], valus: 3", ["'valus'", "Did you mean 'values'?", "parameters.classes.valus"]),
]

#: Replacements of the whole `classes` line, and words of the message.
OTHER_PARAMETER = [
    ("clases: {values: [3]}", ["'clases'", "Did you mean 'classes'?", "line 3, parameters.clases"]),
    ("data: {values: [digits, mnist]}", ["data=mnist", "parameters.data.values[1]", "Parquet"]),
    ("data: {values: [gone.parquet]}", ['data="gone.parquet"', "exists"]),
    ("test: {values: [a.parquet]}", ["'test'"]),
    ("halve: {values: [2]}", ["'halve'"]),
    ("classes: {value: [3]}", ["two or more labels", "parameters.classes.value"]),
    ("classes: {values: [[3, 3], 4]}", ["two or more labels", "each label once", "parameters.classes.values[0]"]),
    ("classes: {values: [4, [3, -1]]}", ["two or more labels", "[3, 5, 8]", "parameters.classes.values[1]"]),
    ("classes: {values: [[3, 10]]}", ["labels from 0 to 9"]),
    ("classes: {values: [[3, 5], [5, 3]]}", ["must list each value once"]),
    ("steps: {values: [[3, 5]]}", ["steps must be a number or a word"]),
    ("class_seed: {value: 3}", ["class_seed=3", "a number of classes"]),
    ("steps: 3", ["steps=3", "`steps: {values: [...]}`"]),
    ("steps: {}", ["steps={}", "one way"]),
    ("steps: {value: 0}", ["steps=0", "line 3, parameters.steps.value."]),
    ("steps: {value: null}", ["steps=null"]),
    ("breadth_pressure: {values: [0, -0.1]}", ["breadth_pressure=-0.1", "at least 0", "values[1]"]),
    ("time_pressure: {values: [1, 1.0]}", ["time_pressure=[1, 1.0]", "once"]),
    ("time_pressure: {values: [.inf]}", ["time_pressure=Infinity", "finite"]),
    (f"time_pressure: {{values: [1{'0' * 400}]}}", ["time_pressure=1000", "number"]),
    (f"time_pressure: {{values: [1{'0' * 5000}]}}", ["1000", "line 3, parameters.time_pressure.values[0]"]),
    (
        "time_pressure: {min: 1, max: 2}",
        ["search is required because time_pressure has a range", "search: {trials: 50}"],
    ),
    ("time_pressure: {distribution: unifrm}", ["distribution=unifrm", "Did you mean 'uniform'?"]),
]

#: Changes of other lines of GOOD: old text, new text, words of the message.
CHANGED = [
    ("data: digits", "data: digts", ["data=digts", "line 1, task.data", "Did you mean 'digits'?"]),
    ("data: digits", "classes: 3", ["classes=", "one place", "task.classes", "line 3"]),
    ("data: digits", "test: a.parquet", ['test="a.parquet"', "task.test"]),
    ("data: digits", "validation: a.parquet", ['validation="a.parquet"', "task.validation"]),
    ("data: digits", "occlusion: 1", ["occlusion=1", "less than 1"]),
    ("data: digits", "noise: -0.5", ["noise=-0.5"]),
    ("data: digits", "train_images: 0", ["train_images=0"]),
    ("data: digits", "level: 0.5", ["level=0.5", "Add `degradation`"]),
    ("data: digits", "degradation: fog", ["degradation=", "fog"]),
    ("data: digits", "standardize: batch", ["standardize=", "batch"]),
    ("name: time", "name: tme", ["name=tme", "line 6, objectives[1].name", "Did you mean 'time'?"]),
    ("name: time", "name: accuracy", ["name=accuracy", "once", "objectives[1].name"]),
    ("goal: minimize", "goal: minimise", ["goal=minimise", "maximize or minimize"]),
    (
        "goal: minimize",
        "gaol: minimize",
        ["'gaol'", "Did you mean 'goal'?", "line 6, objectives[1].goal", "missing"],
    ),
    (", time: 7", "", ["without 'time'", "line 7, reference_point", "Add `time:`"]),
    ("time: 7", "time: 7, depth: 1", ["depth=1", "reference_point.depth"]),
    ("time: 7", "time: null", ["time=null", "must be a number"]),
    ("reference_point", "refrence_point", ["'refrence_point'", "reference_point is required"]),
    ("{accuracy: 0.0, time: 7}", "3", ["reference_point=3"]),
    ("time: 7}", "time: 7}\nfronts: [[accuracy, tme]]", ["fronts=tme", "line 8, fronts[0][1]", "Did you mean 'time'?"]),
    ("time: 7}", "time: 7}\nfronts: [[accuracy, time]]", ["not all of them", "line 8, fronts[0]"]),
    ("time: 7}", "time: 7}\nfronts: [[time]]", ["two or more", "line 8, fronts[0]"]),
]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((f"{GOOD}{added}\n", words) for added, words in ADDED),
        *((GOOD.replace("[10, 3]", new), words) for new, words in CHANGED_PARAMETER),
        *((GOOD.replace("classes: {values: [10, 3]}", new), words) for new, words in OTHER_PARAMETER),
        *((GOOD.replace(old, new), words) for old, new, words in CHANGED),
    ],
)
def test_wrong_value_is_refused_with_rule_value_place_and_way_out(tmp_path, text, words):
    message = refusal(tmp_path, text)
    assert all(word in message for word in [*words, "small.yaml, line "]), message


def test_several_problems_are_told_in_the_order_of_the_file(tmp_path):
    text = GOOD.replace("[10, 3]", "[1, 3]").replace("time: 7", "tim: 7") + "seed: -1\nlattice: {steps: 0}\n"
    lines = refusal(tmp_path, text).splitlines()
    assert [line.split(" in small.yaml, ")[1].split(". ")[0] for line in lines] == [
        "line 3, parameters.classes.values[0]",
        "line 7, reference_point",
        "line 7, reference_point.tim",
        "line 8, seed",
        "line 9, lattice.steps",
    ]


def test_message_reads_as_one_sentence_and_a_way_out(tmp_path):
    assert refusal(tmp_path, GOOD + "lattice:\n  steps: 0\n") == (
        "steps must be at least 1, but got steps=0 in small.yaml, line 9, lattice.steps. Use 1 or more."
    )


def test_grid_that_is_too_large_is_refused_with_its_product(tmp_path):
    many = ", ".join(map(str, range(1000)))
    text = GOOD.replace(
        "[10, 3]}",
        f"[10, 3]}}\n  time_pressure: {{values: [{many}]}}\n  depth_pressure: {{values: [{many}]}}",
    )
    assert "2 classes × 1000 time_pressure × 1000 depth_pressure = 2000000" in refusal(tmp_path, text)


def test_classes_that_fit_one_data_set_of_an_axis_only_are_refused(tmp_path):
    (tmp_path / "big.parquet").touch()
    text = GOOD.replace("[10, 3]}", "[10, 100]}\n  data: {values: [big.parquet, digits]}").replace("data: digits", "")
    assert "classes=100" in refusal(tmp_path, text)


def test_tasks_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mnist.parquet").touch()
    text = GOOD.replace("classes: {values: [10, 3]}", "data: {values: [a/mnist.parquet, b/mnist.parquet]}")
    assert "2 are named 'mnist'" in refusal(tmp_path, text.replace("data: digits", ""))


# Refusals of files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty file"]),
        ("# only words\n", ["empty file"]),
        ("- 1\n", ["[1]", "line 1"]),
        ("hello\n", ["hello", "line 1"]),
        ("a: [\n", ["line 2"]),
        ("name: a\nb: c: d\n", ["line 2", "mapping values are not allowed"]),
        ("a:\n\t- b\n", ["line 2"]),
        ("a: 1\n---\nb: 1\n", ["another document", "line 2"]),
        ("name: a\ntask: {}\nname: b\n", ["name twice", "line 3, name", "line 1"]),
        ("task: {data: digits, data: digits}\n", ["data twice", "line 1, task.data"]),
        ("1: 2\n", ["key must be a word", "but got 1 in"]),
        ("? [1]\n: 2\n", ["key must be a word"]),
        ("a: *b\n", ["undefined alias", "'b'"]),
        ("a: &a [*a]\n", ["alias"]),
        ("a: !!python/object:os.system x\n", ["os.system", "line 1, a"]),
        ("a: !!int x\n", ["readable int", "line 1, a"]),
        ("name: a\nb: \x01\n", ["line 2"]),
        (b"name: a\nb: \xff\n", ["0xff", "line 2", "UTF-8"]),
        ("[" * 5000, ["nested too deeply"]),
        (b"a" * 250_001, ["250000 bytes"]),
        ("a\nb", ["line 1"]),
    ],
)
def test_broken_file_is_refused_with_its_line(tmp_path, text, words):
    message = refusal(tmp_path, text)
    assert all(word in message for word in [*words, "small.yaml"]), message


def test_aliases_that_grow_without_bound_are_refused(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "20000 values" in refusal(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("source", ["smok", "/no/such/file.yaml", "a\0b", "x" * 5000, ""])
def test_missing_file_is_refused_with_the_shipped_spaces(source):
    with pytest.raises(SpecError) as caught:
        load_spec(source)
    assert repr(source) in str(caught.value)
    assert "smoke" in str(caught.value)


def test_folder_is_refused(tmp_path):
    with pytest.raises(SpecError, match=f"the folder '{tmp_path}'"):
        load_spec(Path(tmp_path))


def test_objective_that_is_wrong_is_not_also_called_missing(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("objectives: [{name: acuracy, goal: maximize}]\nreference_point: {accuracy: 0}\n")
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert "name=acuracy" in str(error.value)
    assert "must not be empty" not in str(error.value)


# A mapping in place of YAML


MAPPING = {
    "name": "mapped",
    "task": {"data": "digits", "train_images": 50, "test_images": 50},
    "lattice": {"channels": 2, "layers": 1, "steps": 2},
    "parameters": {"breadth_pressure": {"values": [0, 1e-3]}},
    "objectives": [{"name": "accuracy", "goal": "maximize"}, {"name": "time", "goal": "minimize"}],
    "reference_point": {"accuracy": 0, "time": 3},
}


def test_mapping_gives_the_spec_of_the_yaml_it_stands_for(tmp_path):
    loaded = load_spec(MAPPING)
    (tmp_path / "any.yaml").write_text(loaded.text)
    assert load_spec(tmp_path / "any.yaml").spec == loaded.spec
    assert [s.breadth_pressure for s in loaded.spec.settings()] == [0, 1e-3]
    assert load_spec(MAPPING, name="other").spec.name == "other"


def test_numbers_of_numpy_tuples_enums_and_paths_are_what_they_stand_for():
    given = MAPPING | {
        "parameters": {"breadth_pressure": {"values": tuple(np.array([0.0, 1e-3]))}},
        "training": {"epochs": np.int64(3)},
        "objectives": [{"name": "accuracy", "goal": Goal.MAXIMIZE}, {"name": "time", "goal": Goal.MINIMIZE}],
    }
    assert load_spec(given).spec == load_spec(MAPPING | {"training": {"epochs": 3}}).spec


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False)
        | st.text(
            st.characters(
                codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"
            )
        ),
        lambda below: (
            st.lists(below, max_size=3) | st.dictionaries(st.text("abc01.e-+ ", min_size=1), below, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_any_mapping_reads_back_from_its_yaml_as_it_was(value):
    assert from_mapping({"key": value}).data == {"key": value}


def test_mistake_in_a_mapping_is_named_by_its_keys_and_not_by_a_line():
    with pytest.raises(
        SpecError, match=r"time_presure.* in the given mapping, parameters.time_presure\..*time_pressure"
    ):
        load_spec(MAPPING | {"parameters": {"time_presure": {"values": [1]}}})
    with pytest.raises(SpecError, match=r"got object <object.*> in the given mapping, task\.data"):
        load_spec(MAPPING | {"task": {"data": object()}})
    with pytest.raises(SpecError, match=r"a key must be a word, but got int 3 in the given mapping, task"):
        load_spec(MAPPING | {"task": {3: "digits"}})
    own = {}
    own["task"] = own
    with pytest.raises(SpecError, match="must not hold itself"):
        load_spec(own)


def test_stored_spec_that_names_measurements_of_another_version_is_read_and_a_new_one_is_refused():
    searched = {"breadth_pressure": {"min": 0.0, "max": 1.0}}
    stored = json.loads(LatticeSweep.model_validate(REST | {"parameters": searched, "search": {"trials": 3}}).to_json())
    stored["objectives"] = [{"name": "exit_accuracy", "goal": "maximize"}, {"name": "time", "goal": "minimize"}]
    stored["reference_point"] = {"exit_accuracy": 0.0, "time": 10.0}
    stored["search"] = {"trials": 3, "minimize": "energy", "subject_to": ["exit_accuracy >= 0.9"]}
    read = spec_from_json(json.dumps(stored))
    assert [objective.name for objective in read.objectives] == ["exit_accuracy", "time"]
    assert (read.search.minimize, str(read.search.subject_to[0])) == ("energy", "exit_accuracy >= 0.9")
    assert spec_from_json(read.to_json()) == read
    with pytest.raises(ValidationError, match="3 validation errors"):
        LatticeSweep.model_validate(stored)


def test_stored_spec_and_setting_that_say_adaptive_mean_confidence():
    axis = {"time_selection": {"values": ["confidence", "fixed"]}}
    for part in ({"lattice": {"time_selection": "confidence"}}, {"parameters": axis}):
        spec = LatticeSweep.model_validate(REST | part)
        read = spec_from_json(spec.to_json().replace("confidence", "adaptive"))
        assert read == spec
        assert read.settings() == spec.settings()
    setting = LatticeSetting()
    assert LatticeSetting.from_flat({**setting.flat(), "lattice.time_selection": "adaptive"}) == setting
