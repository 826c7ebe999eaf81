"""A small stored home, the commands that read it, and the judgement of their answers after damage."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from typer.main import get_command

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.exit_codes import ExitCode
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.training.train import train_population

#: Sixteen networks of two tasks, with replicates, fronts over some of the objectives, and a file of probes of each.
SPEC = """
name: {name}
task: {{data: digits, train_images: 200, validation_images: 60, test_images: 30}}
lattice: {{channels: 3, layers: 2, steps: 3, time_selection: confidence}}
parameters:
  classes: {{values: [2, 3]}}
  breadth_pressure: {{values: [0, 0.2]}}
  time_pressure: {{values: [0, 0.3]}}
replicates: 2
seed: {seed}
training: {{updates: 60, batch_size: 32, learning_rate: 1e-2}}
probes: {{noise: [0.2, 0.4]}}
objectives: [{{name: accuracy, goal: maximize}}, {{name: time, goal: minimize}}, {{name: breadth, goal: minimize}}]
reference_point: {{accuracy: 0, time: 4, breadth: 5}}
fronts: [[accuracy, time]]
"""

#: The sweep that is damaged, and an undamaged one, whose files replace files of the other.
SMALL, OTHER = "small", "other"

#: Labels of the tasks of both sweeps.
TASKS = ("digits-2-train200-validation60-test30", "digits-3-train200-validation60-test30")

#: Commands that are not asked here, each with the reason. A test fails for a command that is neither here nor below.
ELSEWHERE = {
    "init": "writes a spec",
    "validate": "reads a spec",
    "plan": "reads a spec",
    "ui": "serves what `report` writes until it is stopped, see tests/results/test_live_report.py",
    "submit": "sends a spec to a cluster",
    "stop": "asks a cluster",
    "logs": "asks a cluster",
    "unarchive": "reads an archive, which tests/upkeep damages",
    "clean": "leaves what cannot be read, see tests/upkeep",
    "rename": "changes whole sweeps, see tests/upkeep",
    "delete": "removes whole sweeps, damaged ones too, see tests/upkeep",
}

#: Commands that write into a home: they may repair damage, but never silently make it worse.
WRITING = ("run", "resume", "mirror")

#: Questions by command. KEY is a network on a front, WEAK one that is on no front.
QUESTIONS = {
    "list": ["list --json"],
    "status": ["status", "status small"],
    "watch": ["watch small --once"],
    "pareto": [
        "pareto small",
        "pareto small --objectives accuracy,time --where accuracy>=0.4 --format csv",
        "pareto small --at accuracy>=0.1 --minimize breadth",
        "pareto small --dominating WEAK",
        "pareto small --seeds",
        "pareto other --compare small",
    ],
    "trials": ["trials small --json"],
    "findings": ["findings small --json"],
    "plot": [
        "plot small",
        "plot small front-breadth --task TASK -o picture.html",
        "plot small steps --task TASK -o picture.html",
    ],
    "report": ["report small -o report.html"],
    "show": ["show KEY", "show WEAK", "show KEY --sweep small --tracking-uri sqlite:///TRACKING"],
    "steps": ["steps KEY images.parquet"],
    "export": ["export KEY -o network.safetensors", "export KEY -o network.safetensors --home AWAY --sweep small "
               "--tracking-uri sqlite:///TRACKING"],
    "archive": ["archive small -o small.zip"],
    "audit": ["audit small", "audit other"],
    "doctor": ["doctor"],
    "mirror": ["mirror small"],
    "resume": ["resume small --workers 1"],
    "run": ["run small.yaml --workers 1"],
}  # fmt: skip

#: Matches parts of answers that differ each time and say nothing about the sweep: times, and a drawing library's random
#: names.
_FLEETING = re.compile(
    rb'"(age|last_heard)_s": [\d.e+-]+|'
    rb"\d+(\.\d+)? (s|min|h|ms) ago|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"
)


@dataclass(frozen=True)
class Answer:
    """A command's exit code, outputs, and written file."""

    code: int
    out: bytes
    err: str
    file: bytes | None = None

    def same(self, other: Answer) -> bool:
        """Return whether code, output and file are the same."""
        return (self.code, self.out, self.file) == (other.code, other.out, other.file)


@dataclass
class Ground:
    """A folder with a home that tests damage repeatedly, and restore from a copy each time."""

    folder: Path
    keys: dict[str, str] = field(default_factory=dict)
    right: dict[str, Answer] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "sweeps"

    @property
    def pristine(self) -> Path:
        return self.folder / "pristine"

    def restore(self):
        shutil.rmtree(self.home, ignore_errors=True)
        with suppress(NotADirectoryError, FileNotFoundError):
            self.home.unlink()
        shutil.copytree(self.pristine, self.home, symlinks=True)

    def stored(self):
        """Return the digest of everything stored, by path."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            name = path.relative_to(self.home).as_posix()
            if path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.is_dir():
                found[name] = "a folder"
        return found

    def ask(self, question):
        """Run a question's command in this process, as `sweeper` would run it in this folder."""
        words = [self.keys.get(word, word) for word in question.split()]
        return self.ask_words(*[word.replace("TRACKING", str(self.home / "mlflow.db")) for word in words])

    def ask_words(self, *words):
        """Run a command with exactly these words."""
        written = [self.folder / words[words.index("-o") + 1]] if "-o" in words else []
        for file in written:
            file.unlink(missing_ok=True)
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        code = None
        with mock.patch.object(sys, "argv", ["sweeper", *words]), redirect_stdout(out), redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
        forget_databases()
        said = _FLEETING.sub(b"...", out.buffer.getvalue())
        if words[0] == "list":
            said = re.sub(rb'"size": \d+', b"...", said)  # the size changes with damage, which is right
        if words[0] == "doctor":
            said = re.sub(rb"\d+(\.\d+)?", b"...", said)  # free resources and speeds
        files = [_FLEETING.sub(b"...", file.read_bytes()) if file.exists() else None for file in written]
        return Answer(int(code or 0), said, err.buffer.getvalue().decode(), next(iter(files), None))


def forget_databases():
    """Make MLflow open its databases anew: otherwise it keeps using an open file that has been replaced."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()
    SqlAlchemyStore._engine_map.clear()
    _tracking_store_registry._get_store_with_resolved_uri.cache_clear()


def commands():
    """Return the names of all commands of the program."""
    return set(get_command(cli.app).commands)


def make_ground(folder, empty_database):
    """Run both sweeps in a folder, and return it with the keys that stand for words of questions."""
    ground = Ground(folder)
    ground.home.mkdir(parents=True)
    shutil.copy(empty_database, ground.home / "mlflow.db")
    for name, seed in ((SMALL, 0), (OTHER, 7)):
        (folder / f"{name}.yaml").write_text(SPEC.format(name=name, seed=seed))
        loaded = load_spec(folder / f"{name}.yaml")
        Sweep(name, ground.home).run(loaded, executor=InlineExecutor(), work=train_population)
    reader = MlflowReader(f"sqlite:///{ground.home / 'mlflow.db'}", SMALL)
    stored, trials = reader.networks().keys, reader.trials().table["key"].to_pylist()
    ground.keys = {
        "KEY": stored[0],  # the trial whose files are damaged
        "WEAK": min(key for key in trials if key not in stored),
        "TASK": TASKS[0],
        "AWAY": str(folder / "away"),
        "HOME": str(ground.home),
    }
    return ground


def _is_said_beside(answer, right):
    """Return whether a partial answer says what is missing: in a report, in findings, or beside a list of pictures."""
    if "note: not all that there is can be drawn: " in answer.err:
        return True
    if answer.out.count(b"warning  ") > right.out.count(b"warning  "):
        return True  # an additional warning of `doctor`
    words = (b"no network can be shown", b"cannot be read", b"cannot be used", b"is not stored")
    contents = [(answer.out, right.out), (answer.file or b"", right.file or b"")]
    return any(found.count(word) > wanted.count(word) for found, wanted in contents for word in words)


def judged(answer, right):
    """Return the judgement of an answer, given that of the undamaged home: `right`, `refused`, or the kind of mistake.

    Refused means one sentence on the error output, and the exit code of a mistake.
    """
    if "Traceback" in answer.err + answer.out.decode(errors="replace"):
        return "traceback"
    if answer.code == ExitCode.UNFORESEEN:
        return "traceback"
    if answer.same(right):
        return "right"
    if answer.code == right.code and _is_said_beside(answer, right):
        return "refused"
    if answer.code == ExitCode.FOUND_WRONG:
        return "refused"  # `audit` and `doctor` name the damage in their lines
    if answer.code == ExitCode.MISTAKE and answer.file in (None, right.file):
        if not answer.err and b"unknown" in answer.out:
            return "refused"  # `audit` names promises that it cannot check
        lines = [line for line in answer.err.splitlines() if not line.startswith("note: ")]
        said = len(lines) == 1 and lines[0].startswith("sweeper: ") and len(lines[0]) < 1500
        return "refused" if said else "no sentence"
    return "wrong"
