"""A home that was damaged from outside, in many ways: every command says so in a sentence, or is not affected.

No command answers from damaged data, and reading changes nothing. `tests/faults/damage.py` has the kinds of damage,
`tests/faults/asking.py` the commands and the judgement of their answers. The tests of every day try a few kinds with
every command; `make faults` tries all kinds and writes the results to the file that `--damage-record` names,
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

#: Commands that read the ledger; those that continue the sweep come last.
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
    """Ask a damaged sweep; the command must report the damage and change nothing."""
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
    for words in (["pareto", "smoke"], ["trials", "smoke"]):  # these read only MLflow
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
    assert_said(home, sweeper, READING[-1], content=rows)  # a driver changes the file's header, so rows are compared


# --- the whole home, and every command ---------------------------------------------------------------


def test_every_command_is_asked_or_said_to_read_nothing_stored():
    assert asking.commands() == QUESTIONS.keys() | asking.ELSEWHERE.keys()
    assert not QUESTIONS.keys() & asking.ELSEWHERE.keys()


def test_there_are_enough_kinds_of_damage_and_no_two_of_a_name():
    assert len({(kind.store, kind.name) for kind in KINDS}) == len(KINDS) >= 60


@pytest.fixture(scope="module")
def ground(tmp_path_factory, empty_database):
    """A home that can be damaged and restored, with the undamaged home's answer to every question."""
    ground = make_ground(tmp_path_factory.mktemp("damaged"), empty_database)
    images = pa.table({"image": [a_png(8, 8)] * 3, "label": [0, 1, 0]})
    pq.write_table(images, ground.folder / "images.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ground.folder)
        ground.ask("report small -o report.html")  # this also stores the report
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
    """Counts the answers in the rare tests, and writes them at the end if a file is named."""
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
                found = "right"  # the command has repaired the damage
            if (
                found == "wrong"
                and kind.forgets
                and question in ("status", "list --json", "doctor")
                and b"small" not in answer.out
            ):
                found = "right"  # nothing is left that could tell of the sweep
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
    """Return whether `sweeper doctor`, which takes seconds, can meet this damage: it opens no sweep."""
    return kind.store == "home" or (kind.store == "MLflow" and kind.name.startswith("database"))


#: One kind of damage to each of some stores, for the tests of every day.
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


#: Damage that is repaired by writing again from the ledger, which is whole.
MIRRORED = [
    kind for kind in KINDS if kind.store == "MLflow" or kind.store.startswith(("stored", "chosen", "artifacts"))
]


def _unnumbered(answer):
    """Return an answer without the front's number, which changes if the front is stored again."""
    without = re.compile(rb"[Ff]ront version \d+|v000\d|\"version\": ?\d+")
    return replace(answer, out=without.sub(b"", answer.out), file=answer.file and without.sub(b"", answer.file))


@pytest.mark.rare
@pytest.mark.parametrize("kind", MIRRORED, ids=str)
def test_mirror_mends_what_is_made_from_the_ledger_or_says_why_it_cannot(ground, kind, tried):
    ground.restore()
    kind.do(ground.home)
    mended = ground.ask("mirror small")
    ground.ask("mirror other")  # a lost database has lost both sweeps
    if mended.code != ExitCode.DONE:
        assert judged(mended, ground.right["mirror small"]) == "refused", mended
        tried.note("mending by `sweeper mirror`", "refused")
        return
    wrong = []
    for command, questions in QUESTIONS.items():
        if command not in (*WRITING, "doctor", "watch", "audit"):  # their answers depend on the time of mirroring
            for question in questions:
                answer = ground.ask(question)
                if "csv" not in question and not _unnumbered(answer).same(_unnumbered(ground.right[question])):
                    wrong.append((question, answer.code, answer.err or answer.out[-300:]))
    assert wrong == []
    tried.note("mending by `sweeper mirror`", "right")
