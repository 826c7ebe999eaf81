"""Output to streams of any kind: other encodings, closed, full, or without a reader; real files and descriptors."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest

from sweeper.__main__ import main
from sweeper.cli import streams
from sweeper.cli.streams import nearest
from sweeper.measurements import Goal
from tests.support.swept import SILENT, swept

COMMANDS = (
    ("--help",),
    ("run", "--help"),
    ("plan", "SPEC", "--workers", "1"),
    ("list",),
    ("status",),
    ("status", "silent", "--json"),
    ("watch", "silent"),
    ("watch", "silent", "--json"),
    ("pareto", "silent"),
    ("pareto", "silent", "--format", "csv"),
    ("pareto", "silent", "-o", "front.txt"),
    ("trials", "silent"),
    ("findings", "silent"),
    ("plot", "silent"),
    ("report", "silent", "--no-log", "-o", "report.html"),
    ("show", "KEY"),
    ("export", "KEY", "-o", "network.safetensors"),
    ("mirror", "silent"),
    ("resume", "silent"),
    ("audit", "silent"),
    ("status", "nö-süch"),
    ("pareto", "silent", "--where", "größe ≥ 1"),
    ("logs", "silent", "--address", "http://127.0.0.1:9"),
)

#: Commands that do nothing but print an answer.
ANSWERS = (
    "--help",
    "plan",
    "validate",
    "list",
    "status",
    "watch",
    "pareto",
    "trials",
    "findings",
    "plot",
    "show",
    "audit",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_database):
    """A home with one small sweep that was trained and mirrored."""
    folder = tmp_path_factory.mktemp("said")
    swept(folder, empty_database, SILENT)
    (folder / "spec.yaml").write_text(SILENT)
    return folder / "home"


class Said:
    """A command with real files as its output streams."""

    def __init__(self, home, monkeypatch, folder):
        self._home, self._monkeypatch, self._folder = home, monkeypatch, folder
        networks = list((home / "silent" / "networks").glob("*.safetensors"))
        self._key = networks[0].stem

    def call(self, words, encoding="utf-8", out=None, err=None):
        """Return the exit code and the bytes of both files; a given stream takes the place of a file."""
        given = {"KEY": self._key, "SPEC": str(self._home.parent / "spec.yaml")}
        words = [given.get(word, word) for word in words]
        if "--help" not in words and words[0] not in ("plan", "logs"):
            words += ["--home", str(self._home)]
        files = {"stdout": out or self._folder / "out", "stderr": err or self._folder / "err"}
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["sweeper", *words])
            for name, file in files.items():
                opened = file if isinstance(file, io.TextIOBase) else open(file, "w", encoding=encoding)  # noqa: SIM115
                patch.setattr(sys, name, opened)
            with pytest.raises(SystemExit) as ended:
                main()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        said = [(self._folder / name).read_bytes() for name in ("out", "err") if (self._folder / name).exists()]
        return (int(ended.value.code or 0), *said)


@pytest.fixture
def said(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return Said(home, monkeypatch, tmp_path)


def without_reader():
    """Return a stream into a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return open(write, "w", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_a_command_does_is_the_same_whatever_it_is_said_to(said, words):
    code, out, err = said.call(words)
    assert b"Traceback" not in err
    for encoding in ("ascii", "latin-1", "cp1252"):
        plain = said.call(words, encoding)
        assert plain[0] == code
        assert b"Traceback" not in plain[2]
        assert plain[2].decode(encoding).count("\n") == err.decode().count("\n")
        assert bool(plain[1].decode("utf-8" if "csv" in words else encoding)) == bool(out)

    is_answer = words[0] in ANSWERS and "-o" not in words
    full = said.call(words, out=open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115
    assert full[0] == (2 if out and is_answer and not code else code)
    assert (b"could not be written to the standard output: No space left on device" in full[-1]) == bool(out)
    left = said.call(words, out=without_reader())
    assert left[0] in ((code, streams.NO_READER) if words[0] == "watch" else (code,))
    assert b"could not be written" not in left[-1]
    for stream in (open("/dev/full", "w", encoding="utf-8"), without_reader()):  # noqa: SIM115
        assert said.call(words, err=stream)[0] == code


def test_front_in_ascii_has_arrows_rulers_and_spreads_in_plain_characters(said):
    out = said.call(("pareto", "silent"), "ascii")[1].decode("ascii")
    assert re.search(r"accuracy .*time [^\n]*\n[^\n]* \^ [^\n]* v ", out)  # arrows below titles, at this width
    assert "reference point: accuracy 0, time 3" in out
    assert "?" not in out
    assert len(re.findall(r"^\|[-+]+\|$|^[ -]+$", out, re.M)) >= 1


def test_file_of_an_answer_is_utf_8_whatever_the_terminal_is(said, tmp_path):
    said.call(("pareto", "silent", "-o", "front.txt"), "ascii")
    assert "↑" in (tmp_path / "front.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("".join(goal.arrow for goal in Goal), "^v"),
        ("0.9 ±0.1 ≥ 0.8 − 3×3", "0.9 +-0.1 >= 0.8 - 3x3"),
        ("┌─┬━╥═╗│┃║└┴┘╱╳╵╴", "+-+-+=+|||+++/X|-"),
        ("█▌▓░", "###."),
        ("Größe, café, Łódź, ½, x²", "Grosse, cafe, Lodz, 1/2, x2"),
        ("τ = 0.5, Σ, ε → ∞ …", "tau = 0.5, Sigma, epsilon -> inf ..."),
        ("测试 🏃", "?? ?"),
        ("e\u0301\u200b", "e"),
        ("⬆⇧⬇", "^^v"),
    ],
)
def test_characters_become_the_nearest_plain_ones(text, plain):
    assert nearest(text) == plain


def run(words, **options):
    """Run a command in its own process."""
    command = [sys.executable, "-P", "-m", "sweeper", *map(str, words)]
    return subprocess.run(command, timeout=600, **options)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code_and_nothing_else_takes_their_place(home, closed):
    for words, code in ((["status", "silent"], 0), (["status", "nosuch"], 2)):
        shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-P", "-m", "sweeper"]
        done = subprocess.run([*shell, *words, "--home", home], capture_output=True, timeout=600)
        assert done.returncode == code
        assert b"Traceback" not in done.stdout + done.stderr
        assert (b"silent" in done.stdout) == (code == 0 and ">&-" not in closed.replace("2>&-", ""))


def test_name_of_a_file_that_is_no_text_is_said_as_its_bytes(home):
    done = run(["plan", os.fsdecode(b"caf\xe9.yaml")], capture_output=True)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"'caf\\udce9.yaml'" in done.stderr


def test_words_of_the_user_on_how_to_write_what_an_encoding_lacks_stand(home):
    names = {**os.environ, "PYTHONIOENCODING": "ascii:xmlcharrefreplace"}
    done = run(["status", "--home", "nö"], capture_output=True, env=names)
    assert b"no sweeps in n&#246;." in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ascii", "full", "left"])
def test_sweep_trains_and_ends_with_its_own_code_whatever_hears_of_it(kind, tmp_path, empty_database):
    (tmp_path / "spec.yaml").write_text(SILENT)
    home = tmp_path / "home"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    # An old locale: Python reads files and the output of other programs as ASCII, too.
    names = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "160"}
    streams = {
        "ascii": {"capture_output": True},
        "full": {"stdout": open("/dev/full", "wb"), "stderr": open("/dev/full", "wb")},  # noqa: SIM115
        "left": {"stdout": without_reader(), "stderr": without_reader()},
    }[kind]
    done = run(["run", tmp_path / "spec.yaml", "--home", home, "--workers", "1"], env=names, **streams)
    assert done.returncode == 0, done.stderr
    if kind == "ascii":
        assert b"2 complete" in done.stdout
        assert b"accuracy ^" in done.stdout
        assert b"Traceback" not in done.stderr
    asked = run(["status", "silent", "--home", home, "--json"], capture_output=True)
    assert json.loads(asked.stdout)["complete"] == 2
