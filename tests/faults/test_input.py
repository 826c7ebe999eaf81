"""Specs, network files and conditions from strangers: valid ones are understood, all others give one sentence.

Examples come from a grammar (`tests/faults/hostile.py`) that knows the right result. The fast tests take a few of each.
The rare tests take hundreds, limit the processor time of each, and write the results to the file that `--input-record`
names, `docs/faults/input.json`.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sweeper.errors import SpecError
from sweeper.exit_codes import ExitCode
from sweeper.model import NetworkFileError, decode
from sweeper.spec import load_spec, spec_from_json
from tests.faults import hostile
from tests.faults.asking import Ground, make_ground
from tests.faults.tried import Tried

#: Longest processor time of an answer, in seconds; checked only in the rare tests.
PATIENCE_S = 2.0

FEW = settings(max_examples=30, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=700, phases=(Phase.explicit, Phase.generate, Phase.shrink))


@pytest.fixture(scope="module")
def tried(request):
    """Counts the answers in this file's rare tests, and writes them at the end if a file is named."""
    found = Tried()
    yield found
    if file := request.config.getoption("--input-record", None):
        found.write(file)
    assert found.wrong == []


@pytest.fixture(scope="module")
def ground(tmp_path_factory, empty_database):
    """A home with two small trained sweeps."""
    return make_ground(tmp_path_factory.mktemp("asked"), empty_database)


@contextmanager
def untouched(folder):
    """Check that no file of a folder is added, removed or changed."""

    def content():
        return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    before = content()
    yield
    assert content() == before


def one_sentence(answer):
    """Check that a command refused with one message and nothing else; it may list several problems, one per line."""
    assert answer.code == ExitCode.MISTAKE, answer
    assert answer.out == b""
    assert answer.err.startswith(("sweeper: ", "Usage: ")), answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err) < 20_000


class Clock:
    """Measures the processor time of answers."""

    def __init__(self, limit_s=None):
        self.limit_s, self.longest_s = limit_s, 0.0

    @contextmanager
    def running(self):
        began = time.process_time()
        yield
        took = time.process_time() - began
        self.longest_s = max(self.longest_s, took)
        assert self.limit_s is None or took < self.limit_s, f"{took:.1f} s of a processor"


# --- specs -----------------------------------------------------------------------------------------


def check_valid_spec(folder, data, tried=None, clock=None):
    """Write a valid spec, and compare the loaded spec with the grammar's meaning."""
    spec, wanted = data.draw(hostile.valid_specs())
    file = folder / "spec.yaml"
    file.write_text(data.draw(hostile.written(spec)), encoding="utf-8")
    with (clock or Clock()).running():
        found = load_spec(file).spec
    its = found.settings()
    assert (found.name, len(its)) == (spec["name"], wanted.count)
    assert {name: list(values) for name, values in found.axes.items()} == wanted.values
    flat = [setting.flat() for setting in its]
    assert all(one[name] == value for one in flat for name, value in wanted.fixed.items())
    assert sorted({one["seed"] for one in flat}) == [spec["seed"] + number for number in range(wanted.replicates)]
    assert len({setting.key for setting in its}) == wanted.count
    if tried:
        tried.note("valid specs", "right")


def check_mutated_spec(ground, folder, data, tried=None, clock=None):
    """Change a spec and load it: it must be valid or refused in words; nothing may be run or written."""
    spec, _ = data.draw(hostile.valid_specs())
    text = data.draw(hostile.mutated_texts(data.draw(hostile.written(spec))))
    file = folder / "spec.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with untouched(folder), (clock or Clock()).running():
        try:
            found = load_spec(file).spec
        except SpecError as error:
            found, said = None, str(error)
    if found is not None:  # the loaded spec must be valid, and the same when it is loaded again
        assert spec_from_json(found.to_json()) == found
        assert found.planned >= 1
    else:
        assert said.strip()
        assert len(said.splitlines()) <= 10
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), "a message may not command the terminal"
        one_sentence(ground.ask(f"plan {file}"))
    assert not list(folder.glob("**/CANARY*"))
    if tried:
        tried.note("changed specs", "accepted" if found else "refused")


@FEW
@given(data=st.data())
def test_valid_spec_in_any_notation_means_what_its_grammar_says(tmp_path_factory, data):
    check_valid_spec(tmp_path_factory.getbasetemp(), data)


@FEW
@given(data=st.data())
def test_changed_spec_is_read_or_refused_in_words(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    check_mutated_spec(Ground(folder), folder, data)


# --- network files ---------------------------------------------------------------------------------


def check_file(ground, data, tried=None, clock=None):
    """Show a drawn file as a network's file: its network must be shown, or the file refused in words."""
    whole = next((ground.home / "small/networks").glob(f"{ground.keys['KEY']}*")).read_bytes()
    folder = ground.folder / "given"
    folder.mkdir(exist_ok=True)
    kind, content = data.draw(hostile.hostile_files(whole, folder / "CANARY"))
    file = folder / "given.safetensors"
    file.write_bytes(content)
    with untouched(folder), (clock or Clock()).running():
        try:
            found = decode(content, str(file))
        except NetworkFileError as error:
            found, said = None, str(error)
        answer = ground.ask(f"show {file}")
    if content == whole:
        assert (found is not None, answer.code) == (True, 0)
    if found is None:
        assert str(file) in said
        assert "\n" not in said
        one_sentence(answer)
    elif answer.code != 0:  # a valid network whose file has an impossible description
        one_sentence(answer)
    if kind in ("bytes", "cut", "longer", "inserted", "size") and found is not None:
        same = decode(whole, "whole")
        assert found.description == same.description
        assert all((a == b).all() for a, b in zip(found.state_dict().values(), same.state_dict().values(), strict=True))
    if kind in ("pickle", "torch", "zip", "text", "cut", "other", "header"):
        assert found is None
    if tried:
        tried.note("network files", "accepted" if answer.code == 0 else "refused")


@pytest.mark.slow
@FEW
@given(data=st.data())
def test_given_network_file_is_shown_as_it_is_or_refused_in_words(ground, data):
    check_file(ground, data)


# --- conditions ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(ground):
    answer = ground.ask("trials small --json --home HOME")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def check_condition(ground, rows, data, tried=None, clock=None):
    """Ask for the trials that meet a condition, and compare them with the choice of plain Python."""
    condition = data.draw(hostile.conditions(rows))
    text = hostile.typed(condition, data.draw)
    with (clock or Clock()).running():
        answer = ground.ask_words("trials", "small", "--json", "--home", str(ground.home), "--where", text)
    wanted = [row["key"] for row in rows if hostile.meant(condition, row)]
    assert answer.code == 0, answer.err
    assert [row["key"] for row in json.loads(answer.out)] == wanted, text
    if tried:
        tried.note("conditions", "right")


def check_changed_condition(ground, rows, data, tried=None, clock=None):
    """Ask with a changed condition: it must choose some trials, or be refused in words."""
    text = data.draw(hostile.mutated_conditions(hostile.conditions(rows)))
    with (clock or Clock()).running():
        answer = ground.ask_words("trials", "small", "--json", "--home", str(ground.home), "--where", text)
    if answer.code == 0:
        keys = [row["key"] for row in json.loads(answer.out)]
        assert keys == [row["key"] for row in rows if row["key"] in keys]
    else:
        one_sentence(answer)
    assert not list(ground.folder.glob("CANARY*"))
    if tried:
        tried.note("changed conditions", "accepted" if answer.code == 0 else "refused")


@pytest.mark.slow
@FEW
@given(data=st.data())
def test_condition_chooses_the_trials_that_plain_python_chooses(ground, rows, data):
    check_condition(ground, rows, data)


@pytest.mark.slow
@FEW
@given(data=st.data())
def test_changed_condition_chooses_trials_or_is_refused_in_words(ground, rows, data):
    check_changed_condition(ground, rows, data)


# --- hundreds of each ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.rare
@MANY
@given(data=st.data())
def test_hundreds_of_valid_specs(tmp_path_factory, tried, data):
    check_valid_spec(tmp_path_factory.getbasetemp(), data, tried, Clock(PATIENCE_S))


@pytest.mark.slow
@pytest.mark.rare
@MANY
@given(data=st.data())
def test_hundreds_of_changed_specs(ground, tmp_path_factory, tried, data):
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    check_mutated_spec(ground, folder, data, tried, Clock(PATIENCE_S))


@pytest.mark.slow
@pytest.mark.rare
@MANY
@given(data=st.data())
def test_hundreds_of_network_files(ground, tried, data):
    check_file(ground, data, tried, Clock(PATIENCE_S))


@pytest.mark.slow
@pytest.mark.rare
@MANY
@given(data=st.data())
def test_hundreds_of_conditions(ground, rows, tried, data):
    check_condition(ground, rows, data, tried, Clock(PATIENCE_S))


@pytest.mark.slow
@pytest.mark.rare
@MANY
@given(data=st.data())
def test_hundreds_of_changed_conditions(ground, rows, tried, data):
    check_changed_condition(ground, rows, data, tried, Clock(PATIENCE_S))
