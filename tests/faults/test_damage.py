"""A ledger that was damaged from outside, in many ways: every command says so in a sentence, or is not concerned.

Nothing is answered from what is damaged, and looking at it changes nothing in it.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from contextlib import closing

import pytest

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.exit_codes import ExitCode
from sweeper.ledger.home import Home
from sweeper.spec import load_spec

pytestmark = pytest.mark.slow

#: Optuna's tables without which a ledger cannot be read.
NEEDED = ("studies", "study_user_attributes", "trials", "trial_user_attributes", "trial_values", "version_info")

#: Commands that read the ledger; those that go on with the sweep come last.
READING = (
    ["status", "smoke"],
    ["status"],
    ["audit", "smoke"],
    ["mirror", "smoke"],
    ["resume", "smoke", "--workers", "1"],
)


def cut(size):
    return lambda file: file.write_bytes(file.read_bytes()[:size])


def half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwritten(start, count):
    def damage(file):
        content = bytearray(file.read_bytes())
        content[start : start + count] = random.Random(start).randbytes(count)
        file.write_bytes(content)

    return damage


def other_content(content):
    return lambda file: file.write_bytes(content)


def folder_in_its_place(file):
    file.unlink()
    file.mkdir()


def sql(statement, *values):
    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            assert database.execute(statement, values).rowcount != 0

    return damage


def without_table(name):
    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(f"DROP TABLE {name}")

    return damage


def attribute(name, value):
    """Have an attribute of the first row that has one hold something else."""
    return sql(
        "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = "
        "(SELECT min(trial_user_attribute_id) FROM trial_user_attributes WHERE key = ?)",
        value,
        name,
    )


def noted(name, value):
    return sql("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", value, name)


def part_of_plan(change):
    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            row, text = database.execute(
                "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes WHERE key = 'plan' LIMIT 1"
            ).fetchone()
            plan = json.loads(text)
            change(plan)
            database.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?",
                (json.dumps(plan), row),
            )

    return damage


#: What makes the ledger unreadable as a whole.
OF_THE_FILE = {
    "empty": cut(0),
    "one byte": cut(1),
    "half its head": cut(8),
    "a hundred bytes": cut(100),
    "one page": cut(4096),
    "half": half,
    "head overwritten": overwritten(0, 16),
    "first page overwritten": overwritten(16, 4000),
    "zeros": other_content(bytes(8192)),
    "text": other_content(b"this is no ledger\n" * 100),
    "another database": other_content(b"SQLite format 3\0" + bytes(4080)),
    "a folder": folder_in_its_place,
    **{f"without {name}": without_table(name) for name in NEEDED},
}

#: What makes one row, or what is noted of the sweep, unreadable.
OF_A_ROW = {
    "torn plan": attribute("plan", '{"key": "0123'),
    "plan of another kind": attribute("plan", "5"),
    "plan of nothing": attribute("plan", "null"),
    "plan of a list": attribute("plan", "[]"),
    "empty plan": attribute("plan", "{}"),
    "torn outcome": attribute("ended", '{"outcome": "compl'),
    "outcome of another kind": attribute("ended", "5"),
    "unknown outcome": attribute("ended", '{"outcome": "finished"}'),
    "outcome without its name": attribute("ended", '{"reason": ""}'),
    "torn claim": attribute("claim", '{"attempt'),
    "claim of another kind": attribute("claim", "[1]"),
    "plan without a setting": part_of_plan(lambda plan: plan.pop("setting")),
    "setting of another kind": part_of_plan(lambda plan: plan.update(setting="none")),
    "setting with a word for a number": part_of_plan(lambda plan: plan["setting"].update(seed="one")),
    "plan without axes": part_of_plan(lambda plan: plan.pop("axes")),
    "plan without a population": part_of_plan(lambda plan: plan.pop("population")),
    "plan without a key": part_of_plan(lambda plan: plan.pop("key")),
    "torn revisions": noted("revisions", '[{"spec": "'),
    "revisions of another kind": noted("revisions", '"none"'),
    "revision without a spec": noted("revisions", '[{"text": ""}]'),
    "revision with a torn spec": noted(
        "revisions", '[{"spec": "{", "text": "", "path": "", "population_size": 1, "facts": {}}]'
    ),
}


@pytest.fixture(scope="module")
def swept_once(tmp_path_factory, empty_database):
    home = tmp_path_factory.mktemp("swept")
    shutil.copy(empty_database, home / "mlflow.db")
    Sweep("smoke", home).run(load_spec("smoke"), executor=InlineExecutor())
    return home


@pytest.fixture
def home(swept_once, tmp_path, monkeypatch):
    shutil.copytree(swept_once, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def sweeper(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr("sys.argv", ["sweeper", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def content(file):
    return file.read_bytes() if file.is_file() else None


def rows(file):
    with closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def assert_said(home, sweeper, words, content=content):
    """Ask a damaged sweep; what is wrong must be said, and nothing of it be changed."""
    file = Home(home).sweep("smoke").path / "ledger.db"
    before = content(file)
    code, out, err = sweeper(*words, "--home", home)
    assert code == ExitCode.MISTAKE, (words, code, out, err)
    assert "Traceback" not in out + err
    assert re.match(r"sweeper: the ledger .*smoke.* (is damaged|cannot be (opened|read|written)): .+", err), err
    assert "Restore it from a copy." in err
    assert content(file) == before, "looking at it has changed it"


@pytest.mark.parametrize("name", OF_THE_FILE)
def test_damaged_file_is_said_by_every_command_and_stays_as_it_is(home, sweeper, name):
    OF_THE_FILE[name](Home(home).sweep("smoke").path / "ledger.db")
    for words in READING:
        assert_said(home, sweeper, words)
    for words in (["pareto", "smoke"], ["trials", "smoke"]):  # of MLflow alone
        code, _, err = sweeper(*words, "--home", home)
        assert code == ExitCode.DONE, err


@pytest.mark.parametrize("name", OF_A_ROW)
def test_damaged_row_is_said_and_stays_as_it_is(home, sweeper, name):
    OF_A_ROW[name](Home(home).sweep("smoke").path / "ledger.db")
    for words in READING[:2]:
        assert_said(home, sweeper, words)
    code, out, err = sweeper("audit", "smoke", "--home", home)
    assert code in (ExitCode.FOUND_WRONG, ExitCode.MISTAKE), (out, err)
    assert "Traceback" not in out + err
    assert_said(home, sweeper, READING[-1], content=rows)  # whoever drives notes in its head that it is open
