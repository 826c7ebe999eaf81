"""Exit codes of commands: a number for each kind of end that a script may want to tell apart."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sweeper.cli import run as cli
from sweeper.exit_codes import MEANINGS, STOPPED, ExitCode, rows
from tests.cli.test_run import place, sweeper  # noqa: F401  # fixtures

FAILS = """
name: fails
task: {data: digits, train_images: 100, test_images: 50}
lattice: {channels: 2, layers: 1, steps: 2}
parameters: {time_pressure: {values: [0.1]}}
training: {epochs: 1000}
placement: {time_limit_s: 0.01}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 3}
"""


def test_every_code_has_a_meaning_and_no_two_are_the_same_and_none_is_1():
    assert set(MEANINGS) == set(ExitCode)
    numbers = [*map(int, ExitCode), *STOPPED.values()]
    assert len(set(numbers)) == len(numbers)
    assert 1 not in numbers, "Python and Ray end with it"
    assert {128 + number for number in (1, 2, 13, 15)} == set(STOPPED.values())


def test_help_has_the_whole_table(sweeper):  # noqa: F811
    said = sweeper("--help")
    assert said.code == 0
    told = " ".join(said.out.partition("Exit codes:")[2].split())
    for number, meaning in rows():
        assert f"{number} {meaning}" in told


def test_what_nobody_has_thought_of_is_one_sentence_with_a_report_that_others_cannot_read(
    sweeper,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    def breaks(*_, **__):
        raise ZeroDivisionError("a secret\nof two lines")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("sweeper.spec.load_spec", breaks)
    said = sweeper("plan", "smoke")
    err = said.err
    assert (said.code, said.out) == (ExitCode.UNFORESEEN, "")
    assert err.startswith("sweeper: something unforeseen happened (ZeroDivisionError: a secret): ")
    assert "Traceback" not in err
    [report] = re.findall(r"The whole report is in (\S+)\.\n", err)
    assert "Traceback (most recent call last)" in Path(report).read_text()
    assert os.stat(report).st_mode & 0o777 == 0o600


def test_report_that_cannot_be_written_is_printed(sweeper, monkeypatch):  # noqa: F811
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    monkeypatch.setattr("sweeper.spec.load_spec", lambda *_, **__: 1 / 0)
    said = sweeper("plan", "smoke")
    assert said.code == ExitCode.UNFORESEEN
    assert "Traceback" in said.err
    assert said.err.endswith("The whole report is above.\n")


def test_packages_that_cannot_be_imported_are_left_to_who_has_started_the_program(monkeypatch):
    monkeypatch.setattr("sys.argv", ["sweeper", "plan", "smoke"])

    def breaks(*_, **__):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("sweeper.spec.load_spec", breaks)
    with pytest.raises(ModuleNotFoundError):
        cli.main()


@pytest.mark.slow
def test_sweep_some_of_whose_trials_failed_ends_with_a_code_of_its_own(sweeper, place):  # noqa: F811
    Path("fails.yaml").write_text(FAILS)
    said = sweeper("run", "fails.yaml", "--workers", "1")
    assert said.code == ExitCode.SOME_FAILED, said
    assert "1 trial: 1 timed out" in said.out
    assert sweeper("resume", "fails", "--workers", "1").code == ExitCode.SOME_FAILED, "nothing is left to do"
