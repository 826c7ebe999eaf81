"""Specs of a user's own function: what they may contain, and refusals in one sentence."""

from __future__ import annotations

import pytest
import yaml

from sweeper.errors import SpecError
from sweeper.spec import FunctionSetting, load_spec, refused_differences, setting_of, spec_from_json

CODE = "def train(trial, hidden: int, lr: float = 1e-2, kind: str = 'a', on: bool = True, epochs: int = 3): ...\n"

SPEC = {
    "train": "own_spec:train",
    "parameters": {"hidden": {"values": [4, 8]}, "lr": {"value": 1}, "kind": {"values": ["a", "b"]}},
    "tasks": ["kind"],
    "measures": {"accuracy": "share", "cost": "units"},
    "objectives": [{"name": "accuracy", "goal": "maximize"}, {"name": "cost", "goal": "minimize"}],
    "reference_point": {"accuracy": 0, "cost": 9},
}


@pytest.fixture
def load(tmp_path):
    """A function that loads the spec with other keys; None removes a key."""
    (tmp_path / "own_spec.py").write_text(CODE)

    def call(**changes):
        spec = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(spec))
        return load_spec(tmp_path / "own.yaml").spec

    return call


def test_setting_holds_every_argument_and_tasks_are_told_apart(load):
    spec = load()
    assert (spec.tasks, spec.planned) == (("a", "b"), 4)
    first = spec.settings()[0]
    assert dict(first.arguments) == {"hidden": 4, "lr": 1.0, "kind": "a", "on": True, "epochs": 3}
    assert isinstance(first.arguments["lr"], float)
    assert setting_of(first.flat()) == first
    assert isinstance(first, FunctionSetting)
    assert spec_from_json(spec.to_json()) == spec


def test_key_is_of_the_function_its_arguments_seed_and_version_and_of_nothing_else(load):
    def keys(**changes):
        return {setting.key for setting in load(**changes).settings()}

    plain = keys()
    assert (
        keys(name="other", description="d", placement={"cpus": 2}, measures={**SPEC["measures"], "more": "s"}) == plain
    )
    assert keys(tasks=None) == plain, "which arguments make tasks says where a trial is shown, and not what it is"
    assert keys(version=2) == keys(version="2")
    others = [keys(version=2), keys(seed=1), keys(parameters={**SPEC["parameters"], "epochs": {"value": 4}})]
    assert all(not other & plain for other in others)


def test_spec_may_grow_and_default_that_changes_is_another_one(load, tmp_path):
    planned = load()
    assert refused_differences(planned, load(parameters={**SPEC["parameters"], "hidden": {"values": [4, 8, 16]}})) == []
    (tmp_path / "own_spec.py").write_text(CODE.replace("= 3", "= 4"))
    assert "epochs" in " ".join(refused_differences(planned, load()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "python train.py --lr"}, "Commands are not run"),
        ({"train": "./train.sh"}, "Commands are not run"),
        ({"train": "own_spec.py:train"}, "Write `train: own_spec:train`"),
        ({"train": "own_spec"}, "train must be module:function"),
        ({"train": "__main__:train"}, "%%writefile"),
        ({"train": "own_spec:trian"}, "has no trian (it has train)"),
        ({"train": "nowhere:train"}, "there is no nowhere.py in"),
        ({"parameters": {"hidden": {"a": {"values": [1]}}}}, "'a' is not a known key"),
        ({"parameters": {"hidden": {"value": 1}, "model": {"a": {"values": [1]}}}}, "must not hold other parameters"),
        ({"parameters": {"hidden": {"values": [1], "when": {"lr": 1}}}}, "must not depend on other parameters"),
        ({"parameters": {"hidden": {"values": [1.5]}}}, "hidden must be a whole number"),
        ({"parameters": {"hidden": {"value": 1}, "on": {"value": "yes please"}}}, "on must be true or false"),
        ({"parameters": {"hiden": {"values": [1]}}}, "Did you mean 'hidden'?"),
        ({"parameters": {"lr": {"value": 1}}}, "hidden must be given, because own_spec:train has no default for it"),
        ({"parameters": {"hidden": {"min": 1, "max": 9}}}, "search is required"),
        ({"tasks": ["kin"]}, "Did you mean 'kind'?"),
        (
            {"measures": {"state": "s"}, "objectives": [{"name": "state", "goal": "maximize"}]},
            "cannot be the name of a",
        ),
        ({"measures": {"accuracy": "share"}}, "a measure must be one of `measures`"),
        ({"measures": {}}, "measures must name what the function measures"),
        ({"lattice": {"channels": 3}}, "lattice must be left out"),
        ({"probes": {"blank": 1}}, "probes must be left out"),
        ({"costs": {"wires": "a:b"}}, "costs must be left out"),
        ({"arguments": {}}, "'arguments' is not a known key"),
        ({"early_stopping": {"min_updates": 3}}, "early_stopping must have min_epochs"),
        ({"mesures": {"a": "b"}}, "Did you mean 'measures'?"),
    ],
)
def test_mistake_is_one_sentence_with_the_way_out(load, changes, said):
    with pytest.raises(SpecError) as raised:
        load(**changes)
    assert said in str(raised.value)
    assert "own.yaml" in str(raised.value)
