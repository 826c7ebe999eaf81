"""A home that was damaged from outside, in many ways: every command says so in a sentence, or is not concerned.

Nothing is answered from what is damaged, and looking at it changes nothing in it. Kinds of damage are in
`tests/faults/damage.py`, commands and the judgement of their answers in `tests/faults/asking.py`. A few kinds are tried with
every command here, all of them by `make faults`, which writes what came of it where `--damage-record` names a file:
`docs/faults/damage.json`.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.exit_codes import ExitCode
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from tests.faults import asking
from tests.faults.asking import QUESTIONS, WRITING, judged, make_ground
from tests.faults.damage import KINDS, OF_A_ROW, OF_THE_FILE
from tests.faults.tried import Tried
from tests.model.test_examples import a_png

pytestmark = pytest.mark.slow

#: Commands that read the ledger; those that go on with the sweep come last.
READING = (
    ["status", "smoke"],
    ["status"],
    ["audit", "smoke"],
    ["mirror", "smoke"],
    ["resume", "smoke", "--workers", "1"],
)


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


# --- the whole home, and every command ---------------------------------------------------------------


def test_every_command_is_asked_or_said_to_read_nothing_stored():
    assert asking.commands() == QUESTIONS.keys() | asking.ELSEWHERE.keys()
    assert not QUESTIONS.keys() & asking.ELSEWHERE.keys()


def test_there_are_enough_kinds_of_damage_and_no_two_of_a_name():
    assert len({(kind.store, kind.name) for kind in KINDS}) == len(KINDS) >= 60


@pytest.fixture(scope="module")
def ground(tmp_path_factory, empty_database):
    """A home that can be damaged and restored, and what an undamaged one answers to every question."""
    ground = make_ground(tmp_path_factory.mktemp("damaged"), empty_database)
    images = pa.table({"image": [a_png(8, 8)] * 3, "label": [0, 1, 0]})
    pq.write_table(images, ground.folder / "images.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ground.folder)
        ground.ask("report small -o report.html")  # which stores itself
        ground.ask("mirror small")
        shutil.copytree(ground.home, ground.pristine)
        for command, questions in QUESTIONS.items():
            for question in questions:
                ground.right[question] = ground.ask(question)
                assert ground.right[question].code == ExitCode.DONE, ground.right[question]
            if command in WRITING:
                ground.restore()
        yield ground


@pytest.fixture(scope="module")
def tried(request):
    """Counts what the rare test tries; written at the end where a file is named."""
    found = Tried()
    yield found
    if file := request.config.getoption("--damage-record", None):
        found.write(file, commands=len(QUESTIONS), questions=sum(map(len, QUESTIONS.values())))


def ask_all(ground, kind, tried=None, with_doctor=True):
    """Damage the home in one way, ask everything of it, and judge each answer."""
    wrong = []

    def damage():
        ground.restore()
        kind.do(ground.home)
        return ground.stored()

    before = damage()
    for command, questions in QUESTIONS.items():
        for question in questions:
            if (command == "doctor" and not with_doctor) or (command == "run" and kind.forgets):
                continue
            answer, right = ground.ask(question), ground.right[question]
            found = judged(answer, right)
            if found == "wrong" and command in WRITING and _unnumbered(answer).same(_unnumbered(right)):
                found = "right"  # mended
            if (
                found == "wrong"
                and kind.forgets
                and question in ("status", "list --json", "doctor")
                and b"small" not in answer.out
            ):
                found = "right"  # of what is not there any more nobody knows
            if found == "right" and question == "audit small" and kind.is_audited:
                found = "not audited"
            if ground.stored() != before:
                if command not in (*WRITING, "report"):
                    found = f"writes while it is {found}"
                before = damage()
            if found not in ("right", "refused"):
                wrong.append((question, found, answer.code, answer.err or answer.out[-300:]))
            if tried:
                tried.note(kind.store, found)
    if tried:
        tried.note(kind.store, "kinds")
    return wrong


def is_examined(kind):
    """Whether `sweeper doctor`, which takes seconds, may meet this: it opens no sweep."""
    return kind.store == "home" or (kind.store == "MLflow" and kind.name.startswith("database"))


#: One of each store, for the tests of every day.
SOME = [
    next(kind for kind in KINDS if (kind.store, kind.name) == wanted)
    for wanted in (
        ("row of the ledger", "a number that is another one"),
        ("MLflow", "sweeper.trials torn"),
        ("stored front", "another task's"),
        ("network", "another trial's"),
        ("file under probes", "with one bit flipped"),
    )
]


@pytest.mark.parametrize("kind", SOME, ids=str)
def test_every_command_is_right_or_says_what_is_damaged(ground, kind):
    assert ask_all(ground, kind, with_doctor=False) == []


@pytest.mark.rare
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_command_is_right_or_says_what_is_damaged_in_every_way(ground, kind, tried):
    assert ask_all(ground, kind, tried, with_doctor=is_examined(kind)) == []


#: What is mended by writing it again from the ledger, which is whole.
MIRRORED = [
    kind for kind in KINDS if kind.store == "MLflow" or kind.store.startswith(("stored", "chosen", "artifacts"))
]


def _unnumbered(answer):
    """Return an answer without the number of the front, which is another one where a front was stored again."""
    without = re.compile(rb"[Ff]ront version \d+|v000\d|\"version\": ?\d+")
    return replace(answer, out=without.sub(b"", answer.out), file=answer.file and without.sub(b"", answer.file))


@pytest.mark.rare
@pytest.mark.parametrize("kind", MIRRORED, ids=str)
def test_mirror_mends_what_is_made_from_the_ledger_or_says_why_it_cannot(ground, kind, tried):
    ground.restore()
    kind.do(ground.home)
    mended = ground.ask("mirror small")
    ground.ask("mirror other")  # where a whole database has gone, it has lost both
    if mended.code != ExitCode.DONE:
        assert judged(mended, ground.right["mirror small"]) == "refused", mended
        tried.note("mending by `sweeper mirror`", "refused")
        return
    wrong = []
    for command, questions in QUESTIONS.items():
        if command not in (*WRITING, "doctor", "watch", "audit"):  # it was mirrored at another time
            for question in questions:
                answer = ground.ask(question)
                if "csv" not in question and not _unnumbered(answer).same(_unnumbered(ground.right[question])):
                    wrong.append((question, answer.code, answer.err or answer.out[-300:]))
    assert wrong == []
    tried.note("mending by `sweeper mirror`", "right")
