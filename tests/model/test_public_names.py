"""The public names of `sweeper.model` exist for type checkers and at run time, and are loaded on first use."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from unittest import mock

import pytest

from sweeper import model
from sweeper.model import Growth, Lattice, Pressures, Trained, Window


def imported_for_types():
    """Return name -> module, as type checkers read it."""
    (block,) = (
        node
        for node in ast.parse(Path(model.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: line.module.rpartition(".")[2] for line in block.body for alias in line.names}


def test_names_are_the_same_for_whoever_runs_checks_types_and_completes():
    assert imported_for_types() == model._HOMES
    assert set(model.__all__) == set(model._HOMES)
    assert set(model.__all__) <= set(dir(model))


@pytest.mark.parametrize("name", model.__all__)
def test_name_is_there_and_from_the_file_that_the_table_says(name):
    found = getattr(model, name)
    assert getattr(found, "__module__", f"sweeper.model.{model._HOMES[name]}") == f"sweeper.model.{model._HOMES[name]}"
    assert found is getattr(model, name)


def test_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'sweeper.model' has no attribute 'trainn'"):
        model.trainn  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'trainn'"):
        exec("from sweeper.model import trainn")


def test_records_and_classes_are_pickled():
    for value in (Pressures(0.1, 0.2, 0.3, 4), Window((2,), 2, (1, 6, 7), 10), Growth(1024)):
        assert pickle.loads(pickle.dumps(value)) == value
    for kind in (Lattice, Trained, model.Network, model.train):
        assert pickle.loads(pickle.dumps(kind)) is kind


def test_what_stands_in_for_a_name_in_a_test_goes_again():
    real = model.train
    with mock.patch("sweeper.model.train", "other"), mock.patch("sweeper.model.population.measure", "another"):
        from sweeper.model import population

        assert (model.train, population.measure) == ("other", "another")
    assert model.train is real
    assert population.measure is model.measure
