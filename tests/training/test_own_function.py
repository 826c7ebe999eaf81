"""A user's own function is called, interrupted, paused and resumed; whatever it does is an outcome."""

from __future__ import annotations

import itertools
import os
import sys
import textwrap
import warnings
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper import own_code
from sweeper.errors import SpecMismatchError
from sweeper.job import Job
from sweeper.spec import load_spec
from sweeper.training.own_function import call_function
from sweeper.training.own_source import SourceError, function_of, signature_of
from sweeper.training.own_state import packed, unpacked
from sweeper.training.own_trial import OwnFunctionError
from sweeper.trial import Outcome

MEASURES = {"accuracy": "share", "energy": "nJ"}

EXITS = """
import random

import numpy as np
import torch


def train(trial, hidden: int = 4, lr: float = 0.1, epochs: int = 5):
    network = torch.nn.Linear(3, hidden)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    seen = []
    if trial.state:
        network.load_state_dict(trial.state["network"])
        optimizer.load_state_dict(trial.state["optimizer"])
        seen = trial.state["seen"]
    for _ in trial.epochs(epochs):
        noise = random.random() + np.random.rand()
        loss = (network(torch.randn(8, 3)) * noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen = [*seen, float(loss)]
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "seen": seen}
        trial.report(state=state, accuracy=loss, energy=np.float64(hidden))
"""

PLAIN = """
def train(depth: int, rate: float = 1, name: str = "a", on: bool = False, seed: int = 0):
    return {"accuracy": depth * rate + seed, "energy": 1}
"""

names = itertools.count()


@pytest.fixture
def job(tmp_path):
    """A function that makes a job of a user's function, in a module whose name no other test has."""

    def make(code, name="train", **given):
        module = f"own{next(names)}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        arguments = {f"argument.{name}": value for name, value in given.items()}
        setting = {"train": f"{module}:{name}", "seed": 3, **arguments}
        return Job(
            key="population",
            task="own",
            keys=("key",),
            settings=(setting,),
            wanted=(True,),
            checkpoint=str(tmp_path / f"{module}.pt"),
            own_folder=str(tmp_path),
            measures=MEASURES,
        )

    return make


def heard(job, **options):
    """Call a job's function; return its end, and all progress."""
    told = []
    (ended,) = call_function(job, told.append, **options)
    return ended, told


class Killed(BaseException):
    """Ends a worker at once."""


def interrupted(job, after):
    def report(progress):
        if progress.epoch == after:
            raise Killed

    with pytest.raises(Killed):
        call_function(job, report)


@pytest.mark.parametrize("after", [1, 3, 4])
def test_function_that_was_interrupted_ends_as_one_that_was_not(job, after):
    whole, told = heard(job(EXITS))
    assert (whole.outcome, len(whole.curve), [one.epoch for one in told]) == (Outcome.COMPLETE, 5, [1, 2, 3, 4, 5])
    assert whole.curve[0]["accuracy"] != whole.curve[1]["accuracy"]
    other = job(EXITS)
    interrupted(other, after)
    ended, told = heard(other)
    assert [one.epoch for one in told] == list(range(after + 1, 6))
    assert (ended.outcome, ended.measurement, ended.curve) == (whole.outcome, whole.measurement, whole.curve)


def test_function_pauses_at_a_rung_and_goes_on_from_there(job):
    whole, _ = heard(job(EXITS))
    other = job(EXITS)
    paused, told = heard(replace(other, until=2))
    assert (paused.outcome, paused.measurement["accuracy"]) == (None, whole.curve[1]["accuracy"])
    assert len(told) == 2
    again, told = heard(replace(other, until=2))  # the worker died before the driver heard of the pause
    assert (again, told) == (paused, [])
    ended, told = heard(replace(other, until=5))  # the last epoch ends the job, and is no pause
    assert (ended.outcome, ended.curve, len(told)) == (Outcome.COMPLETE, whole.curve, 3)


def test_seed_decides_and_settings_do_as_well(job):
    def accuracy(**given):
        seed = given.pop("seed", 3)
        asked = job(EXITS, **given)
        ended, _ = heard(replace(asked, settings=({**asked.settings[0], "seed": seed},)))
        return ended.measurement["accuracy"]

    assert accuracy() == accuracy()
    assert len({accuracy(), accuracy(seed=4), accuracy(hidden=5), accuracy(lr=0.2)}) == 4


def test_plain_function_returns_measures_and_gets_the_seed_where_it_takes_one(job):
    ended, told = heard(job(PLAIN, depth=2, rate=1.5))
    assert (ended.outcome, ended.measurement, told) == (Outcome.COMPLETE, {"accuracy": 6.0, "energy": 1.0}, [])


@pytest.mark.parametrize(
    ("body", "outcome", "said"),
    [
        ("raise ValueError('too deep')", Outcome.FAILED, "ValueError: too deep"),
        ("raise SystemExit('bye')", Outcome.FAILED, "SystemExit: bye"),
        ("raise MemoryError", Outcome.OUT_OF_MEMORY, "MemoryError"),
        ("pass", Outcome.FAILED, "ended without a measure"),
        ("return 5", Outcome.FAILED, "must give measures by name"),
        ("return {'speed': 1}", Outcome.FAILED, "measure 'speed', which the spec does not list"),
        ("trial.report(accuracy='high')", Outcome.FAILED, "accuracy='high', which is no number"),
        ("trial.report(accuracy=[1, 2])", Outcome.FAILED, "which is no number"),
        ("trial.epochs(0).__next__()", Outcome.FAILED, "whole number of at least 1, but got 0"),
        ("[0 for _ in trial.epochs(3)]", Outcome.FAILED, "epoch 0 of trial key ended without a report"),
        (
            "for _ in trial.epochs(2): trial.report(accuracy=1); trial.report(accuracy=1)",
            Outcome.FAILED,
            "twice in epoch 0",
        ),
        ("trial.report(state=object(), accuracy=1)", Outcome.FAILED, "cannot keep state of type builtins.object"),
        (
            "trial.report(state={'net': __import__('torch').nn.Linear(1, 1)}, accuracy=1)",
            Outcome.FAILED,
            "state['net'] of type torch.nn.modules.linear.Linear",
        ),
        ("trial.report(accuracy=float('nan'))", Outcome.COMPLETE, ""),  # the ledger turns it into `not finite`
    ],
)
def test_whatever_a_function_does_is_an_outcome(job, body, outcome, said):
    ended, _ = heard(job(f"def train(trial):\n    {body}\n"))
    assert ended.outcome is outcome
    assert said in ended.reason


def test_function_that_swallows_everything_is_left_all_the_same(job):
    code = """
    def train(trial):
        for epoch in range(100):
            try:
                trial.report(state=epoch, accuracy=epoch)
            except Exception:
                pass
    """
    seconds = itertools.count()
    ended, told = heard(replace(job(code), time_limit_s=3), clock=lambda: float(next(seconds)))
    assert (ended.outcome, len(told)) == (Outcome.TIMED_OUT, 4)
    stubborn = code.replace("except Exception", "except BaseException")
    ended, told = heard(replace(job(stubborn), time_limit_s=3), clock=lambda: float(next(seconds)))
    assert (ended.outcome, len(told)) == (Outcome.TIMED_OUT, 4)


def test_what_report_raises_is_raised_and_no_outcome(job):
    def report(progress):
        raise ConnectionError("the driver is gone")

    with pytest.raises(ConnectionError):
        call_function(job(EXITS), report)


def test_torn_checkpoint_is_said_and_the_other_one_taken(job):
    asked = job(EXITS)
    whole, _ = heard(job(EXITS))
    interrupted(asked, 4)
    newest = max(_files(asked), key=lambda path: torch.load(path)["epoch"])
    newest.write_bytes(newest.read_bytes()[:100])
    ended, told = heard(asked)
    assert ended.curve == whole.curve
    assert told[0].epoch in (3, 4)
    for path in _files(asked):
        path.write_bytes(b"nothing")
    ended, told = heard(asked)
    assert (ended.curve, told[0].epoch) == (whole.curve, 1)
    assert "begins anew" in told[0].notes[0]


def _files(job):
    from pathlib import Path

    return list(Path(job.checkpoint).parent.glob(f"{Path(job.checkpoint).stem}*.pt"))


def test_function_without_a_state_begins_anew(job):
    code = "def train(trial):\n    for _ in trial.epochs(3): trial.report(accuracy=0.5)\n"
    asked = job(code)
    interrupted(asked, 2)
    ended, told = heard(asked)
    assert ([one.epoch for one in told], ended.outcome) == ([1, 2, 3], Outcome.COMPLETE)


# --- states -----------------------------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
STATES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(STATES)
@settings(deadline=None, max_examples=50)
def test_plain_states_come_back_as_they_were(state):
    assert unpacked(packed(state)) == state


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u1", "?", ">f4", "c8"])
def test_arrays_come_back_as_they_were(kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    back = unpacked(packed({"a": [array, array.T]}))["a"]
    assert all(np.array_equal(one, it) for one, it in zip(back, (array, array.T), strict=True))
    assert back[0].dtype == array.dtype.newbyteorder("=")


def test_state_that_holds_itself_is_refused():
    state: list = []
    state.append(state)
    with pytest.raises(OwnFunctionError, match="holds itself"):
        packed(state)


# --- finding a function -------------------------------------------------------------------------------


def test_signature_says_names_kinds_and_defaults(tmp_path):
    (tmp_path / "signed.py").write_text(
        "def train(trial, seed, width: int, lr: float = 1, name='a', on=True, shape=(1, 2), *rest, **more): ..."
    )
    found = signature_of(function_of("signed:train", tmp_path), tmp_path)
    assert [(one.name, one.kind, one.has_default, one.default) for one in found.arguments] == [
        ("width", "int", False, None),
        ("lr", "float", True, 1.0),
        ("name", "str", True, "a"),
        ("on", "bool", True, True),
        ("shape", "", True, None),
    ]
    assert (found.takes_trial, found.takes_seed, list(found.files)) == (True, True, ["signed.py"])
    assert isinstance(found.arguments[1].default, float)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("signs", "module:function"),
        ("signs:", "module:function"),
        ("__main__:train", "%%writefile"),
        ("nowhere:train", "there is no nowhere.py in"),
        ("signs:trian", "has no trian (it has train)"),
        ("signs:Network", "must name a function"),
        ("json:train", "has no train"),
    ],
)
def test_function_that_cannot_be_found_is_said(tmp_path, source, said):
    (tmp_path / "signs.py").write_text("class Network: ...\ndef train(): ...\n")
    with pytest.raises(SourceError) as raised:
        function_of(source, tmp_path)
    assert said in str(raised.value)


def test_code_of_a_package_is_all_of_its_files(tmp_path):
    package = tmp_path / "packaged"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "own.py", "deep/__init__.py", "deep/more.py"):
        (package / name).write_text("def train(): ...\n")
    first = signature_of(function_of("packaged.deep.more:train", tmp_path), tmp_path)
    assert list(first.files) == [
        f"packaged/{one}" for one in ("__init__.py", "deep/__init__.py", "deep/more.py", "own.py")
    ]
    (package / "own.py").write_text("def train(): return 1\n")
    second = signature_of(function_of("packaged.deep.more:train", tmp_path), tmp_path)
    assert own_code.changed(first.files, second.files) == ["packaged/own.py has changed"]
    assert set(first.places) == set(first.files)


def test_code_of_a_module_is_what_it_imports_of_its_folder_as_well(tmp_path):
    texts = {
        "helped.py": "import helps\ndef train():\n    import helps_late\n    import json, nowhere\n",
        "helps.py": "def width(): return 3\n",
        "helps_late.py": "from parts.deep import one\nfrom helps_named import helped\nimport helped\nfrom . import unused\n",
        "helps_named.py": "this is no Python",
        "parts/deep/one.py": "from whole import anything\nDIGIT = '\\d'\n",  # Python warns of this
        "parts/deep/other.py": "",
        "whole/__init__.py": "",
        "whole/deep/rest.py": "from ..deep import rest\n",
        "unused.py": "",
        "json.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = signature_of(function_of("helped:train", tmp_path), tmp_path)
    assert list(first.files) == sorted(texts.keys() - {"parts/deep/other.py", "unused.py", "json.py"})
    (tmp_path / "helps_late.py").write_text("")
    second = signature_of(function_of("helped:train", tmp_path), tmp_path)
    assert set(own_code.changed(first.files, second.files)) > {"helps_late.py has changed"}


def test_code_of_what_is_installed_is_its_version(tmp_path):
    found = signature_of(function_of("yaml:safe_dump", tmp_path), tmp_path)
    assert found.files == {"PyYAML (installed)": metadata.version("PyYAML")}
    assert found.places == {}


def test_job_of_other_code_stops_the_sweep_and_is_no_failure(job):
    asked = job(PLAIN, depth=2)
    with pytest.raises(SpecMismatchError, match=r"on .* has changed\. Bring it back and resume"):
        heard(replace(asked, code={f"{asked.settings[0]['train'].partition(':')[0]}.py": "of another file"}))
    ended, _ = heard(replace(asked, code={}))
    assert ended.outcome is Outcome.COMPLETE


def test_what_asks_for_a_signature_imports_in_a_process_of_its_own(tmp_path):
    (tmp_path / "apart.py").write_text(
        f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ndef train(width: int): ...\n"
    )
    (tmp_path / "apart.yaml").write_text(
        "train: apart:train\nparameters: {width: {value: 1}}\nmeasures: {accuracy: share}\n"
        "objectives: [{name: accuracy, goal: maximize}]\nreference_point: {accuracy: 0}\n"
    )
    assert load_spec(tmp_path / "apart.yaml").spec.arguments["width"].kind == "int"
    assert int((tmp_path / "pid").read_text()) != os.getpid()
    assert "apart" not in sys.modules


def test_code_is_what_the_file_holds_and_nothing_is_written_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for number in (1, 2):  # same second and same size
        (tmp_path / "quick.py").write_text(f"def train(width: int = {number}): ...\n")
        sys.modules.pop("quick", None)
        found = signature_of(function_of("quick:train", tmp_path), tmp_path)
        assert found.arguments[0].default == number
    assert [path.name for path in tmp_path.iterdir()] == ["quick.py"]
    assert sys.dont_write_bytecode is False
