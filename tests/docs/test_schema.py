"""The JSON schema for editors admits every valid spec, and finds misspelt keys and values of another kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.generating import schema
from docs.generating.spec import SECTIONS
from sweeper.spec import shipped_spaces
from sweeper.spec.yaml_source import read_yaml
from tests.docs.test_docs import SPECS, WHOLE

ROOT = Path(__file__).parents[2]
SPACES = {name: ROOT / "search_spaces" / f"{name}.yaml" for name in shipped_spaces()}


@pytest.fixture(scope="module")
def validator():
    document = json.loads((ROOT / "search_spaces" / schema.FILE).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def read(path):
    return json.loads(json.dumps(dict(read_yaml(path, path.name).data)))


@pytest.mark.parametrize("name", SPACES)
def test_shipped_space_is_admitted_and_names_the_schema(validator, name):
    validator.validate(read(SPACES[name]))
    first = SPACES[name].read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.FILE}"


@pytest.mark.parametrize(("page", "block"), SPECS)
def test_spec_of_the_documents_is_admitted(validator, tmp_path, page, block):
    (tmp_path / "my.yaml").write_text(block if "objectives" in block else yaml.safe_dump(WHOLE | yaml.safe_load(block)))
    validator.validate(read(tmp_path / "my.yaml"))


@pytest.mark.parametrize(
    "written",
    [
        {"task": {"classes": ["cat", "dog"], "resize": [32, 24], "crop": 24, "background": [0, 0, 0]}},
        {"task": {"degradation": "my_fog:fog", "level": 0.5}},
        {"costs": {"wiring": "my_costs:wiring"}, "parameters": {"wiring_pressure": {"min": 0, "max": 1}}},
        {"measures": {"robustness": {"unit": "share", "of": "my_measures:robustness"}}},
        {"probes": {"debris": 0.5, "my_fog:fog": [0.25, 0.5]}, "lesions": "lateral"},
        {"search": {"trials": 4, "subject_to": "accuracy > 0.5", "minimize": "time", "warm_start": "other"}},
        {"placement": {"population": 4, "gpus": 0.5, "memory_mib": "auto"}},
        {"parameters": {"classes": {"values": [[0, 1], 3]}}},
    ],
)
def test_other_ways_to_write_are_admitted_too(validator, written):
    validator.validate(read(SPACES["quickstart"]) | written)


PLACES = [(), *((title,) for title in SECTIONS if title in {"task", "lattice", "training", "search", "placement"})]


@given(place=st.sampled_from(PLACES), key=st.from_regex(r"[a-z]{3}_[a-z]{3}x", fullmatch=True))
def test_key_that_is_not_known_is_seen(validator, place, key):
    document = read(SPACES["quickstart"]) | {"search": {"trials": 4}, "placement": {}}
    inner = document
    for one in place:
        inner = inner[one]
    inner[key] = 1
    (error,) = validator.iter_errors(document)
    assert key in error.message


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("lattice", "channels"), "many"),
        (("lattice", "channels"), 0),
        (("training", "solver"), "magic"),
        (("training", "learning_rate"), 0),
        (("parameters", "breadth_presure"), {"value": 1}),
        (("parameters", "breadth_pressure"), {"min": 1}),
        (("parameters", "breadth_pressure"), {"values": []}),
        (("objectives",), [{"name": "accuracy", "goal": "up"}]),
        (("reference_point",), {"accuracy": "low"}),
        (("replicates",), 0),
    ],
)
def test_value_that_is_refused_is_seen_where_it_stands(validator, place, value):
    document = read(SPACES["quickstart"])
    inner = document
    for one in place[:-1]:
        inner = inner[one]
    inner[place[-1]] = value
    found = {tuple(error.absolute_path)[: len(place) - 1] for error in validator.iter_errors(document)}
    assert found == {place[:-1]}


def test_file_that_names_a_function_is_read_by_its_own_rules(validator):
    document = read(ROOT / "docs" / "examples" / "exits.yaml")
    validator.validate(document)
    assert not validator.is_valid(document | {"lattice": {"channels": 8}})
    assert not validator.is_valid(document | {"measures": {"accuracy": {"unit": "share"}}})


def test_every_key_says_what_it_means(validator):
    for kind in ("then", "else"):
        for name, one in validator.schema[kind]["properties"].items():
            assert one["description"], name
            assert all(inner.get("description") for inner in one.get("properties", {}).values()), name
