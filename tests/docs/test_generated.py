"""Generated pages are those that `docs/generate.py` makes from the sources; the picture of imports is complete."""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs import generate, site
from docs.generating import columns, imports, python_interface, rooms, spec
from docs.generating.markdown import table
from sweeper.analysis import columns as known_columns
from sweeper.analysis.columns import Column
from sweeper.measurements import MEASUREMENTS
from sweeper.spec import FunctionSweep, SweepSpec
from tests.test_layers import GROUND, MODEL, ROOMS, import_graph, longest_chain

WANTED = generate.wanted()


@pytest.mark.parametrize("path", WANTED, ids=lambda path: os.path.relpath(path, generate.DOCS))
def test_committed_file_is_what_the_script_makes(path):
    assert path.read_text(encoding="utf-8") == WANTED[path], "run `make docs`, or `python -m docs.generate`"


def test_every_part_that_can_be_generated_stands_in_a_page():
    marks = [mark for text in WANTED.values() for mark in re.findall(r"<!-- generated: (.*?) -->", text)]
    assert {mark.split()[0] for mark in marks} == set(generate.PARTS)
    assert {mark.split()[1] for mark in marks if mark.startswith("columns ")} == set(columns.REGISTRIES)


def test_what_stands_between_marks_is_written_anew_and_nothing_else():
    page = "before\n<!-- generated: columns POINT -->\nold\n<!-- end of generated -->\nafter\n"
    filled = generate.filled(page)
    assert filled.startswith("before\n<!-- generated: columns POINT -->\n")
    assert filled.endswith("<!-- end of generated -->\nafter\n")
    assert "old" not in filled
    assert generate.filled(filled) == filled


def test_mark_of_a_part_that_there_is_not_is_an_error():
    with pytest.raises(KeyError, match="colums"):
        generate.filled("<!-- generated: colums POINT -->\n<!-- end of generated -->\n")


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=4))
def test_table_has_a_line_for_each_row_and_the_same_cells_in_each(rows):
    lines = table(["a", "b"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


# Columns, specs, Python


def test_registries_of_columns_are_all_shown():
    held = {
        id(value)
        for name, value in vars(known_columns).items()
        if name.isupper() and not name.startswith("_") and all(isinstance(one, Column) for one in value.values())
    }
    held -= {id(known_columns.TASK_AXES)}  # shown as the first of AXES
    assert list(known_columns.AXES)[: len(known_columns.TASK_AXES)] == list(known_columns.TASK_AXES)
    assert held == {id(registry) for registry in columns.REGISTRIES.values()}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_table_of_measurements_says_name_unit_and_meaning(name):
    unit, meaning = MEASUREMENTS[name].unit, MEASUREMENTS[name].meaning
    assert f"| `{name}` | {unit} | {meaning} |" in columns.table("MEASUREMENTS").splitlines()


@pytest.mark.parametrize("title", spec.SECTIONS)
def test_every_key_of_a_spec_stands_in_its_section(title):
    heading = title if " " in title else f"`{title}`"
    section = spec.reference().split(f"## {heading}\n")[1].split("\n## ")[0]
    keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    model = spec.SECTIONS[title]
    written = {field.alias or key: key for key, field in model.model_fields.items()}
    if model is FunctionSweep:  # other keys are those of any spec, and arguments come from a signature
        written = {name: key for name, key in written.items() if key not in {*SweepSpec.model_fields, "arguments"}}
    assert keys == list(written)


def test_limits_and_defaults_are_those_of_the_models():
    lines = spec.reference().splitlines()
    assert any(
        line.startswith("| `channels` | a whole number, at least 1, at most 1 024; in channels | `8` |")
        for line in lines
    )
    assert any(line.startswith("| `factor` | a whole number, at least 2, at most 10 | `3` |") for line in lines)
    assert any(line.startswith("| `trials` | a whole number, at least 1 | required |") for line in lines)


def test_python_reference_shows_what_the_package_offers():
    shown = python_interface.reference()
    assert [name for name in python_interface.offered() if f'"sweeper.{name}"' not in shown] == []
    assert "load_sweep" in python_interface.offered()


# The picture


def reached(edges, room):
    return edges[room].union(*(reached(edges, other) for other in edges[room]))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_dark_arrows_reach_what_all_arrows_reach_and_none_can_be_left_out(pairs):
    edges = {str(node): {str(low) for high, low in pairs if high == node and low < high} for node in range(7)}
    kept = imports.needed(edges)
    assert all(reached(kept, room) == reached(edges, room) for room in edges)
    for room, other in [(room, other) for room, others in kept.items() for other in others]:
        fewer = kept | {room: kept[room] - {other}}
        assert other not in reached(fewer, room)


def test_picture_shows_every_room_and_every_door():
    drawn = imports.picture()
    assert [room for room in ROOMS if f">{room}</text>" not in drawn] == []
    doors = [pair for pair in rooms.doors() if pair[1] != GROUND]
    assert drawn.count("<path d=") - drawn.count("<marker ") == len(doors) > 30


def test_rooms_stand_above_what_they_import_and_no_two_overlap():
    at, width, height = imports.places()
    for room, others in imports.graph().items():
        assert [other for other in others if at[other].y <= at[room].y] == []
    boxes = [at[room] for room in ROOMS]
    for one, other in itertools.combinations(boxes, 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert beside or one.y != other.y
    assert all(box.x >= 0 and box.x + box.width <= width and 0 <= box.y < height for box in boxes)
    assert at[GROUND].y == at[MODEL].y == max(box.y for box in boxes)


def test_chain_is_as_long_as_the_page_says_and_each_file_imports_the_next():
    graph = import_graph()
    names = re.findall(r"`(.*?)`", rooms.chain())
    full = [f"sweeper.{name}" if f"sweeper.{name}" in graph else name for name in names]
    assert len(full) == len(longest_chain(graph)) == int(re.search(r"is (\d+) files", rooms.chain())[1])
    assert all(below in graph[above] for above, below in itertools.pairwise(full))


# The site's links


@pytest.mark.parametrize("path", ["docs/how-to/run.md", "cluster/README.md", "CHANGELOG.md"])
def test_place_in_the_site_and_path_in_the_repository_name_the_same_file(path):
    assert site.path_of(site.place_of(path)) == path


def test_files_beside_the_pages_are_found_through_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    for path, text in {
        "docs/a.md": "[b](../b.md), [c](c.md), [web](https://example.org), [out](../../d.md), [gone](../e.md)",
        "docs/c.md": "",
        "b.md": "[code](src/f.py), [back](docs/a.md), [itself](b.md)",
        "src/f.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert site.linked_files(["docs/a.md", "docs/c.md"]) == ["b.md", "src/f.py"]


@pytest.mark.parametrize("path", ["docs/how-to/clusters.md", "docs/tutorial.md", "cluster/README.md", "docs/index.md"])
def test_links_lead_to_the_same_files_in_the_site(path):
    text = (site.ROOT / path).read_text(encoding="utf-8")
    page = SimpleNamespace(file=SimpleNamespace(src_uri=site.place_of(path)))
    moved = site.links_of(site.on_page_markdown(text, page, None, None))
    folder = posixpath.dirname(site.place_of(path))
    there = [site.path_of(posixpath.normpath(posixpath.join(folder, link))) for link in moved]
    assert there == [site.target_of(path, link) for link in site.links_of(text)]
    assert there


def test_what_looks_like_a_link_in_code_stays_as_it_is():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/a.md"))
    text = "[a](../../README.md)\n```py\nx[0](../../README.md)\n```\n"
    assert site.on_page_markdown(text, page, None, None) == text.replace(
        "[a](../../README.md)", "[a](../repository/README.md)"
    )
