"""Specs that make no sense as a whole though each key is valid, words of other tools, and files of any size."""

from __future__ import annotations

import time

import pytest

from sweeper.errors import SpecError
from sweeper.measurements import MEASUREMENTS, Goal
from sweeper.spec import load_spec, spec_from_json
from sweeper.spec.yaml_source import _LARGEST_BYTES

GOOD = """\
task: {data: digits, train_images: 200, test_images: 100}
lattice: {channels: 4, layers: 2, steps: 3}
parameters:
  breadth_pressure: {values: [0, 1e-3]}
training: {epochs: 9, learning_rate: 1e-3}
objectives: [{name: accuracy, goal: maximize}, {name: breadth, goal: minimize}]
reference_point: {accuracy: 0, breadth: 5}
"""

#: Most processor time of a refusal, in seconds.
PATIENCE_S = 2.0


def refusal(folder, text):
    path = folder / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.process_time()
    with pytest.raises(SpecError) as refused:
        load_spec(path)
    assert time.process_time() - began < PATIENCE_S
    return str(refused.value)


def changed(*pairs):
    text = GOOD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


SEARCH = ("{values: [0, 1e-3]}", "{min: 0, max: 1}")


def searched(words):
    return changed(SEARCH) + f"search: {{trials: 3, {words}}}\n"


# --- specs that make no sense ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(("goal: maximize", "goal: minimize")), ["accuracy must be made larger", "line 6", "Write maximize."]),
        (
            changed(("breadth, goal: minimize", "breadth, goal: maximize")),
            ["breadth must be made smaller", "objectives[1].goal", "Write minimize."],
        ),
        (changed(("accuracy: 0,", "accuracy: 1,")), ["accuracy must be below 1", "line 7, reference_point.accuracy"]),
        (changed(("breadth: 5", "breadth: 0")), ["breadth must be above 1", "reference_point.breadth"]),
        (changed(("breadth: 5", "breadth: -5")), ["breadth must be above 1"]),
        (changed(("breadth: 5", "breadth: 1e300")), ["breadth must be within 1e+15"]),
        (changed(("accuracy: 0,", "accuracy: -1e300,")), ["accuracy must be within 1e+15"]),
        (GOOD + "early_stopping: {min_epochs: 9}\n", ["min_epochs must be below the epochs of a training (9)"]),
        (GOOD + "early_stopping: {min_epochs: 30}\n", ["nothing is ever stopped early", "Lower it"]),
        (
            changed(("epochs: 9", "updates: 250")) + "early_stopping: {min_updates: 201}\n",
            ["min_updates must be below the updates of a training (250)"],
        ),
        (
            changed(("epochs: 9, ", ""), SEARCH, ("parameters:", "parameters:\n  epochs: {min: 2, max: 4}"))
            + "search: {trials: 2}\nearly_stopping: {min_epochs: 4}\n",
            ["of a training (4)"],
        ),
        (changed(("rate: 1e-3", "rate: 1e300")), ["learning_rate must be from 1e-09 to 10", "line 5"]),
        (changed(("rate: 1e-3", "rate: 1e-300")), ["learning_rate must be from 1e-09 to 10"]),
        (changed(("[0, 1e-3]", "[0, 1e300]")), ["breadth_pressure must be at most 1e+06", "values[1]"]),
        (changed(("{values: [0, 1e-3]}", "{value: 1e300}")), ["parameters.breadth_pressure.value"]),
        (
            changed(("{values: [0, 1e-3]}", "{min: 0, max: 1e300}")) + "search: {trials: 2}\n",
            ["breadth_pressure must be at most 1e+06", "parameters.breadth_pressure.max"],
        ),
        (changed(("test_images: 100", "test_images: 100, noise: 1e300")), ["noise must be at most 1000", "task.noise"]),
        (GOOD + "probes: {noise: [0.1, 1e300]}\n", ["levels of noise must be at most 1000", "probes.noise"]),
        (searched("subject_to: accuracy >= 1.5"), ["networks can meet, and accuracy is at most 1"]),
        (searched("subject_to: breadth <= 0"), ["networks can meet, and breadth is at least 1"]),
        (searched("minimize: accuracy"), ["accuracy must be made larger", "search.minimize"]),
        (searched("maximize: time"), ["time must be made smaller", "search.maximize"]),
    ],
)
def test_spec_that_makes_no_sense_is_refused_with_the_reason_and_the_place(tmp_path, text, words):
    message = refusal(tmp_path, text)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        changed(("accuracy: 0,", "accuracy: 0.99,"), ("breadth: 5", "breadth: 2")),
        GOOD + "early_stopping: {min_epochs: 8}\n",
        changed(("epochs: 9, ", ""), ("parameters:", "parameters:\n  epochs: {values: [3, 9]}"))
        + "early_stopping: {min_epochs: 5}\n",
        searched("subject_to: accuracy >= 0.95, maximize: accuracy"),
        changed(("breadth, goal", "steps_by_confidence, goal"), ("breadth: 5", "steps_by_confidence: 0.9")),
        changed(
            ("breadth, goal: minimize", "steps_by_confidence, goal: maximize"), ("breadth: 5", "steps_by_confidence: 0")
        ),
    ],
)
def test_what_may_be_meant_is_read(tmp_path, text):
    (tmp_path / "spec.yaml").write_text(text)
    assert load_spec(tmp_path / "spec.yaml").spec.name == "spec"


def test_spec_that_was_stored_before_is_read_as_it_is(tmp_path):
    (tmp_path / "spec.yaml").write_text(GOOD)
    stored = load_spec(tmp_path / "spec.yaml").spec.to_json()
    former = stored.replace('"goal": "minimize"', '"goal": "maximize"').replace(
        '"learning_rate": 0.001', '"learning_rate": 1e300'
    )
    assert former != stored
    assert spec_from_json(former).objectives[1].goal is Goal.MAXIMIZE


def test_every_share_is_at_most_one_and_every_loss_is_better_when_smaller():
    assert all(one.most == 1 for one in MEASUREMENTS.values() if one.unit == "share")
    for name, one in MEASUREMENTS.items():
        wanted = (
            None if name == "steps_by_confidence" else Goal.MAXIMIZE if name.endswith("accuracy") else Goal.MINIMIZE
        )
        assert one.better is wanted, name


# --- words of other tools -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "method: bayes\n", ["'method' is not a known key", "line 8", "`search: {trials: 50, sampler: tpe}`"]),
        (GOOD + "metric: {name: accuracy, goal: maximize}\n", ["Write `objectives: [{name: accuracy"]),
        (GOOD + "program: train.py\n", ["Leave it out"]),
        (GOOD + "run_cap: 30\n", ["Write `search: {trials: 50}`."]),
        (GOOD + "n_trials: 30\n", ["Write `search: {trials: 50}`."]),
        (GOOD + "directions: [maximize]\n", ["Write `objectives:"]),
        (GOOD + "early_terminate: {type: hyperband}\n", ["Write `early_stopping: {min_epochs: 5}`."]),
        (GOOD + "study_name: a\n", ["Write `name:`."]),
        (searched("n_trials: 5"), ["'n_trials' is not a known key"]),
        (searched("sampler: TPESampler"), ["sampler=TPESampler", "Write tpe."]),
        (searched("sampler: bayes"), ["Write tpe."]),
        (changed(("goal: maximize", "goal: max")), ["goal=max", "maximize or minimize", "Write maximize."]),
        (changed(("goal: minimize", "goal: minimise")), ["Write minimize."]),
        (changed(("epochs: 9", "n_epochs: 9")), ["Write `epochs`."]),
        (changed(("learning_rate: 1e-3", "lr: 1e-3")), ["Write `learning_rate`."]),
        (
            changed(("[0, 1e-3]}", "[0, 1e-3]}\n  lr: {values: [1]}")),
            ["'lr' is not a parameter", "Write `learning_rate`."],
        ),
        (
            changed(("{values: [0, 1e-3]}", "{distribution: log_uniform, min: -9.2, max: -2.3}")),
            ["exponents of e", "{distribution: log_uniform_values, min: 0.000101, max: 0.1003}"],
        ),
        (
            changed(("{values: [0, 1e-3]}", "{distribution: log_uniform, min: 1e-5, max: 1e-2}")),
            ["Use log_uniform_values, which takes the values themselves"],
        ),
        (changed(("{values: [0, 1e-3]}", "{distribution: loguniform, min: 1e-5, max: 1}")), ["Use log_uniform_values"]),
        (
            changed(("{values: [0, 1e-3]}", "{distribution: q_uniform, min: 0, max: 1, q: 0.1}")),
            ["'q'", "Write the values"],
        ),
        (changed(("{values: [0, 1e-3]}", "{distribution: normal, min: 0, max: 1}")), ["two ends"]),
        (changed(("{values: [0, 1e-3]}", "{low: 0, high: 1}")), ["'low'", "'high'", "Write `min: ..., max: ...`."]),
        (changed(("{values: [0, 1e-3]}", "{choices: [0, 1]}")), ["Write `values: [...]`."]),
        (changed(("[0, 1e-3]", "range(0, 1, 0.25)")), ["Write the values out: [0, 0.25, 0.5, 0.75]."]),
        (changed(("[0, 1e-3]", "[range(0, 3)]")), ["Write the values out: [0, 1, 2]."]),
        (
            changed(("{values: [0, 1e-3]}", "\n    values: np.linspace(0, 1, 3)")),
            ["Write the values out: [0, 0.5, 1]."],
        ),
        (changed(("[0, 1e-3]", "np.logspace(-3, -1, 3)")), ["Write the values out: [0.001, 0.01, 0.1]."]),
        (changed(("[0, 1e-3]", '"0:1:0.5"')), ["Write the values out: [0, 0.5]."]),
        (changed(("[0, 1e-3]", "range(0, 1e9)")), ["21, 22, 23, ...]."]),
        (changed(("[0, 1e-3]", "range(0, 1, 0)")), ["must be written out", "Write the values out."]),
        (changed(("{values: [0, 1e-3]}", "\n    values: 0, 0.1")), ["Write it in brackets: [0, 0.1]."]),
        (
            changed(("rate: 1e-3", "rate: 0,001")),
            ["decimal point", "0,001", "line 5, training.learning_rate", "Write 0.001"],
        ),
        (changed(("[0, 1e-3]", "[0,001, 0,01]")), ["Write 0.001"]),
        (
            changed(("training: {epochs: 9, learning_rate: 1e-3}", "training:\n  learning_rate: 0,001")),
            ["Write 0.001:"],
        ),
        (changed(("rate: 1e-3", 'rate: "1e-3"')), ["Write 1e-3, without quotes."]),
        (changed(("rate: 1e-3", "rate: 10^-3")), ["Write 0.001, without quotes."]),
        (changed(("rate: 1e-3", "rate: 1/8")), ["Write 0.125, without quotes."]),
        (changed(("rate: 1e-3", "rate: 1%")), ["Write 0.01, without quotes."]),
        (changed(("rate: 1e-3", "rate: 1/0")), ["must be a number"]),
        (changed(("rate: 1e-3", "rate: -8^0.5")), ["must be a number"]),
        (
            changed(("{data: digits, train_images: 200", "&a {data: digits, train_images: 200")) + "x: {<<: *a}\n",
            ["<<"],
        ),
        (
            "base: &b {epochs: 9}\ntraining: {<<: *b}\n",
            ["a key must be written out", "the merge key <<", "line 2, training"],
        ),
    ],
)
def test_words_of_other_tools_are_refused_with_what_to_write_here(tmp_path, text, words):
    message = refusal(tmp_path, text)
    assert all(word in message for word in words), message


# --- files of any size ----------------------------------------------------------------------------

ROOM = _LARGEST_BYTES - len(GOOD) - 100


def filled(one, join=", "):
    """Return as many different texts as fit into a file."""
    texts, size, number = [], 0, 0
    while size < ROOM:
        texts.append(one.format(number))
        size += len(texts[-1]) + len(join)
        number += 1
    return join.join(texts[:-1])


FILES = {
    "100,000 values": changed(("[0, 1e-3]", f"[{', '.join(map(str, range(100_000)))}]")),
    "values": changed(("[0, 1e-3]", f"[{filled('{}')}]")),
    "equal values": changed(("[0, 1e-3]", f"[{', '.join(['1'] * 19_000)}]")),
    "words": changed(("[0, 1e-3]", f"[{filled('long_word_number_{}')}]")),
    "square brackets": "a: " + "[" * 5_000 + "]" * 5_000,
    "open brackets": "[" * (_LARGEST_BYTES - 1),
    "curly brackets": "{a: " * 60_000,
    "steps": "\n".join(" " * depth + "a:" for depth in range(690)),
    "dashes": "- " * 120_000,
    "keys": filled("key_{}: 1", "\n"),
    "keys in a section": changed(("epochs: 9", f"epochs: 9, {filled('a_longer_key_{}: 1')}")),
    "parameters": changed(("[0, 1e-3]}", "[0]}\n" + filled("  parameter_{}: {{values: [1]}}", "\n"))),
    "keys of a parameter": changed(("values: [0, 1e-3]", filled("a_longer_key_{}: 1"))),
    "objectives": changed(("objectives: [", f"objectives: [{filled('{{name: nosuch_{}, goal: maximize}}')}, ")),
    "equal objectives": changed(("objectives: [", f"objectives: [{filled('{{name: accuracy, goal: maximize}}')}, ")),
    "fronts": GOOD + f"fronts: [{filled('[accuracy, breadth]')}]\n",
    "levels": GOOD + f"probes: {{noise: [{', '.join(['0.5'] * 19_000)}]}}\n",
    "lesions": GOOD + f"lesions: [{', '.join(['lateral'] * 15_000)}]\n",
    "layers": changed(("steps: 3", f"steps: 3, halve: [{', '.join(['2'] * 19_000)}]")),
    "classes": changed(("data: digits", f"data: digits, classes: [{', '.join(map(str, range(19_000)))}]")),
    "a long word": "a" * (_LARGEST_BYTES - 1),
    "an open quote": "a: '" + "a " * 120_000,
    "escapes": 'a: "' + "\\u0041" * 40_000,
    "comments": "#\n" * 120_000,
    "a long number": "seed: " + "9" * 240_000,
    "anchors": filled("a{0}: &a{0} 1", "\n"),
    "aliases": "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
    "documents": "---\n" * 60_000,
    "tags": "a: " + "!a " * 80_000,
    "colons": "a: " * 80_000,
    "tabs": "\t" * 240_000,
    "no text": b"\xff" * 240_000,
    "zeros": b"\0" * 240_000,
    "too large": "a" * 5_000_000,
    "a grid with a wrong end": changed((
        "{values: [0, 1e-3]}",
        f"{{values: [{', '.join(map(str, range(300)))}]}}\n  depth_pressure: {{values: [{', '.join(map(str, range(299)))}, -1]}}",
    )),
    "a grid of wrong values": changed((
        "{values: [0, 1e-3]}",
        f"{{values: [{', '.join(map(str, range(-300, 0)))}]}}\n  depth_pressure: {{values: [{', '.join(map(str, range(-300, 0)))}]}}",
    )),
}


@pytest.mark.parametrize("name", FILES)
def test_refusal_of_any_file_is_short_and_takes_two_seconds_at_most(tmp_path, name):
    message = refusal(tmp_path, FILES[name])
    assert len(message.splitlines()) <= 10
    assert max(map(len, message.splitlines())) < 700
