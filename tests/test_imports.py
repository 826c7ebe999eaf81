"""Messages about a failed import: the file that hides a package, a missing package, or a broken one; nothing else."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from sweeper.errors import ClusterError
from sweeper.execution.executors import InlineExecutor
from sweeper.execution.ray_tune import PlanSearcher
from sweeper.execution.worker import asked, packed, unable_in, unable_sentence
from sweeper.imports import import_problem, way_out
from sweeper.isolated import ask
from sweeper.trial import Outcome
from tests.contracts.executor import Source, a_job


@pytest.fixture
def first(tmp_path, monkeypatch):
    """A folder that comes first on the path; modules from it are unloaded after the test."""
    before = dict(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def forget(name):
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]


def problem_of(statement):
    """Return the message about a statement's error; the statement runs inside a function, as in a worker."""
    try:
        exec(f"def work():\n    {statement}\nwork()", {"__name__": "__main__"})
    except (Exception, SystemExit) as error:
        return import_problem(error)
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("", "from yaml import safe_load"),
        ("", "import yaml.nodes"),
        ("", "import yaml; yaml.safe_load('')"),
        ("def broken(:", "import yaml"),
        ("raise RuntimeError('mine')", "import yaml"),
        ("1 / 0", "import yaml"),
        ("import nothing_of_this_name", "import yaml"),
        ("raise SystemExit(3)", "import yaml"),
    ],
)
def test_file_that_stands_in_for_a_package_is_named_with_the_one_it_hides(first, text, statement):
    hidden = importlib.import_module("yaml").__file__
    forget("yaml")
    (first / "yaml.py").write_text(text)
    said = problem_of(statement)
    assert said.startswith(f"yaml is imported from {first / 'yaml.py'} instead of {hidden} ("), said
    assert "\n" not in said
    assert way_out(said, "there") == "Rename or move that file, or take its folder out of PYTHONPATH there"


def test_folder_that_stands_in_for_a_package_and_a_module_of_python_are_named_too(first):
    (first / "colorsys").mkdir()
    (first / "colorsys" / "__init__.py").write_text("")
    forget("colorsys")
    said = problem_of("from colorsys import rgb_to_hsv")
    assert said.startswith(f"colorsys is imported from {first / 'colorsys' / '__init__.py'} instead of ")


def test_package_that_is_missing_is_said_so_and_is_to_be_installed():
    said = problem_of("import nothing_of_this_name.inside")
    assert said == ("nothing_of_this_name is missing (ModuleNotFoundError: No module named 'nothing_of_this_name')")
    assert way_out(said, "there").startswith("Install what is missing there, the same")


@pytest.mark.parametrize(
    "text", ["raise OSError('libx.so: cannot open')", "from json import nothing", "1 / 0", "x = ("]
)
def test_package_that_is_broken_is_named_with_its_file_and_the_true_error(first, text):
    (first / "broken_package.py").write_text(text)
    said = problem_of("import broken_package")
    assert str(first / "broken_package.py") in said or "json" in said
    assert "(" in said
    assert "Error: " in said


@pytest.mark.parametrize(
    "statement",
    [
        "raise RuntimeError('no import')",
        "{}['a']",
        "(1).nothing",
        "import json; json.nothing",  # a mistake in the code: no file hides the module
        "raise MemoryError",
        "raise OSError(28, 'No space left on device')",
    ],
)
def test_error_that_is_of_no_import_is_none_of_its_business(statement):
    assert problem_of(statement) == ""


class Work:
    """Work that cannot be unpickled."""

    def __reduce__(self):
        return importlib.import_module, ("nothing_of_this_name",)


def test_question_that_a_node_cannot_even_import_is_answered_with_what_is_missing():
    assert asked(packed(dict)) == {}
    (said,) = asked(packed(Work())).values()
    assert said.startswith("nothing_of_this_name is missing (ModuleNotFoundError")
    assert "Install" in said


def test_worker_that_cannot_begin_ends_no_job_and_says_where():
    source, told = Source([a_job(1)]), []
    searcher = PlanSearcher(source, 10, on_unable=told.append)
    searcher.suggest("trial")
    unable = {"node": "10.0.0.7 (abcd1234)", "problem": "torch is missing (ModuleNotFoundError)"}
    searcher.on_trial_result("trial", {"unable": json.dumps(unable)})
    searcher.on_trial_error("trial", None)  # Tune may report the error, too
    assert told == [unable_sentence(unable)]
    assert "the worker on 10.0.0.7 (abcd1234) cannot train: torch is missing" in told[0]
    assert source.ended == {}


#: Shortened message of Ray 2.60 if it cannot import a worker's actor.
RAY_SAYS = """ActorDiedError: The actor died because of an error raised in its creation task, \
ray::ImplicitFunc.__init__() (pid=7, ip=10.0.0.7, actor_id=ab, repr=<x>)
  RuntimeError: The actor with name ImplicitFunc failed to import on the worker. This may be because needed library \
dependencies are not installed in the worker environment:

Traceback (most recent call last):
  File "/env/ray/_private/function_manager.py", line 1, in load
    actor_class = pickle.loads(pickled_class)
  File "/project/pyarrow.py", line 1, in <module>
    raise error
{error}

An unexpected internal error occurred while the worker was executing a task."""


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        ("ModuleNotFoundError: No module named 'pandas'", "pandas is missing"),
        ("RuntimeError: of another make", "/project/pyarrow.py cannot be imported"),
    ],
)
def test_worker_that_ray_itself_could_not_set_up_is_told_from_one_that_died(error, blamed):
    said = unable_in(RAY_SAYS.format(error=error))
    assert f"the worker on 10.0.0.7 cannot train: {blamed} ({error})" in said
    assert unable_in("ActorDiedError: The actor died unexpectedly before finishing this task. ip: 10.0.0.7") == ""
    assert unable_in(RAY_SAYS.splitlines()[0] + "\nOSError: No space left on device") == ""


def test_import_that_fails_in_this_process_is_one_message_and_no_outcome():
    def work(job, report):
        importlib.import_module("nothing_of_this_name")

    source = Source([a_job(1)])
    with pytest.raises(ClusterError, match="nothing can be trained here: nothing_of_this_name is missing"):
        InlineExecutor().run(work, source)
    assert source.ended == {}


def test_training_that_cannot_import_raises_instead_of_failing_its_trials(monkeypatch):
    from sweeper.spec import load_spec
    from sweeper.training import train

    monkeypatch.setattr(train, "load_task", lambda *_: importlib.import_module("nothing_of_this_name"))
    (setting, *_) = load_spec("smoke").spec.settings()
    job = a_job(1, members=1)
    job = type(job)(**{**vars(job), "settings": (setting.flat(),), "keys": (setting.key,), "wanted": (True,)})
    with pytest.raises(ModuleNotFoundError):
        train.train_population(job, lambda _: None)
    monkeypatch.setattr(train, "load_task", lambda *_: 1 / 0)
    assert [ended.outcome for ended in train.train_population(job, lambda _: None)] == [Outcome.FAILED]


def test_question_in_a_process_of_its_own_does_not_find_files_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "yaml.py").write_text("raise RuntimeError('mine')")
    monkeypatch.chdir(tmp_path)
    assert ask(["imports", "yaml"], 60)[-1] == {"package": "yaml", "error": ""}


def test_module_program_does_not_find_files_of_the_current_folder(tmp_path):
    (tmp_path / "typer.py").write_text("raise RuntimeError('mine')")
    done = subprocess.run([sys.executable, "-m", "sweeper", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
