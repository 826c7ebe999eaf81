"""Advice for refused words that users know from other tools: what to write here instead, or nothing.

The words are those of W&B, Optuna, Ray Tune and Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

#: Most values that advice writes out.
_MOST_WRITTEN = 24

_OBJECTIVES = "Write `objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]`."
_TRIALS = "Write `search: {trials: 50}`."
_NO_PROGRAM = "Leave it out: what is trained is described by `task`, `lattice` and `training`."
_STOPPING = "Write `early_stopping: {min_epochs: 5}`."
_RANGE = "Write `min: ..., max: ...`."

#: Key of another tool -> what to write here.
_KEYS: Mapping[str, str] = {
    "method": "Leave it out: values alone make a grid, and `search: {trials: 50, sampler: tpe}` makes a search.",
    **dict.fromkeys(("metric", "metrics", "direction", "directions", "mode", "objective"), _OBJECTIVES),
    **dict.fromkeys(("program", "command", "entity", "project", "controller", "trainable", "entrypoint"), _NO_PROGRAM),
    **dict.fromkeys(("run_cap", "n_trials", "num_samples", "max_trials", "num_trials", "count"), _TRIALS),
    **dict.fromkeys(("early_terminate", "pruner", "scheduler", "grace_period", "pruning"), _STOPPING),
    **dict.fromkeys(("algorithm", "search_alg"), "Write `sampler: tpe`, `random` or another sampler in `search`."),
    **dict.fromkeys(("study_name", "sweep_name", "experiment_name", "title"), "Write `name:`."),
    **dict.fromkeys(("hyperparameters", "params", "config", "search_space", "param_space"), "Write `parameters:`."),
    **dict.fromkeys(("dataset", "datasets"), "Write `task: {data: ...}`."),
    **dict.fromkeys(("model", "network", "architecture"), "Write `lattice:`."),
    **dict.fromkeys(("lr", "eta"), "Write `learning_rate`."),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs"), "Write `epochs`."),
    **dict.fromkeys(("bs", "batch", "batchsize"), "Write `batch_size`."),
    **dict.fromkeys(("seeds", "n_seeds", "repeats", "repetitions", "num_seeds"), "Write `replicates`."),
    **dict.fromkeys(("n_jobs", "num_workers", "workers"), "Give --workers on the command line."),
    **dict.fromkeys(("resources_per_trial", "resources"), "Write `placement: {cpus: 1}`."),
    **dict.fromkeys(("storage", "ledger", "home", "tracking_uri"), "Give it on the command line, as --ledger."),
    **dict.fromkeys(("low", "high", "lower", "upper", "a", "b", "mu", "sigma", "minimum", "maximum"), _RANGE),
    "log": "Write `distribution: log_uniform_values`.",
    **dict.fromkeys(("step", "q"), "Write the values out, as in `values: [0, 0.5, 1]`."),
    **dict.fromkeys(("choices", "grid_search", "options", "categories"), "Write `values: [...]`."),
    **dict.fromkeys(("dist", "type"), "Write `distribution:`."),
    "probabilities": "Leave it out: all values are as likely.",
    "default": "Write `value: ...`.",
}

#: Word of another tool -> the word for it here.
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("max", "maximise", "maximum", "maximize_", "higher", "up", "increase"), "maximize"),
    **dict.fromkeys(("min", "minimise", "minimum", "lower", "down", "decrease"), "minimize"),
    **dict.fromkeys(("tpesampler", "bayes", "bayesian", "optuna"), "tpe"),
    **dict.fromkeys(("nsgaiisampler", "nsga", "nsga-ii", "nsgaii"), "nsga2"),
    **dict.fromkeys(("nsgaiiisampler", "nsga-iii", "nsgaiii"), "nsga3"),
    **dict.fromkeys(("gpsampler", "gaussian_process"), "gp"),
    **dict.fromkeys(("randomsampler", "random_search"), "random"),
    **dict.fromkeys(("qmcsampler", "sobol"), "qmc"),
}

_AS_LOG = "Use log_uniform_values, with the smallest and the largest value as min and max."
_NO_ENDS = "Use uniform or log_uniform_values: what is searched has two ends."
_STEPS = "Write the values out, as in `values: [0, 0.5, 1]`, or use uniform or int_uniform."

#: Distribution of another tool -> what to write here.
_DISTRIBUTIONS: Mapping[str, str] = {
    **dict.fromkeys(("loguniform", "log", "reciprocal", "log_float", "inv_log_uniform_values"), _AS_LOG),
    **dict.fromkeys(("normal", "q_normal", "log_normal", "q_log_normal", "randn"), _NO_ENDS),
    **dict.fromkeys(("q_uniform", "quniform", "q_log_uniform", "q_log_uniform_values", "discrete_uniform"), _STEPS),
    **dict.fromkeys(("int", "integer", "randint", "lograndint", "qrandint"), "Use int_uniform."),
    **dict.fromkeys(("float", "double", "real"), "Use uniform."),
    **dict.fromkeys(("choice", "choices", "categorical_w_probabilities"), "Use categorical."),
    "constant": "Write `value: ...` alone.",
    "grid": "Write `values: [...]` alone.",
}


def for_key(key: str) -> str:
    """Return what to write in place of another tool's key; empty for other keys."""
    return _KEYS.get(key, "")


def for_word(value: object, known: str) -> str:
    """Return what to write in place of another tool's word; empty if there is no advice.

    Args:
        value: The refused value.
        known: The allowed words, as a sentence lists them.
    """
    word = _WORDS.get(value.lower(), "") if isinstance(value, str) else ""
    return f"Write {word}." if word and re.search(rf"\b{word}\b", known) else ""


def for_distribution(form: Mapping[str, Any]) -> str:
    """Return what to write in place of another tool's distribution, with its range converted."""
    name = form.get("distribution")
    low, high = form.get("min"), form.get("max")
    if name in ("log_uniform", "inv_log_uniform") and isinstance(low, int | float) and isinstance(high, int | float):
        if low <= 0 and max(abs(low), abs(high)) < 700:
            ends = f"min: {math.exp(low):.4g}, max: {math.exp(high):.4g}"
            return f"W&B's {name} takes exponents of e: write `{{distribution: log_uniform_values, {ends}}}`."
        return "Use log_uniform_values, which takes the values themselves; W&B's log_uniform takes exponents of e."
    return _DISTRIBUTIONS.get(name, "") if isinstance(name, str) else ""


def for_number(value: object) -> str:
    """Return how to write a number that was given as a text; empty if it is none."""
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", text):
        return f"Write {text.replace(',', '')}, or {text.replace(',', '.', 1)} with a decimal point."
    if re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", text):
        return f"Write {text.replace(',', '.')}: a number has a decimal point."
    number = r"([-+]?[\d_.]+(?:[eE][-+]?\d+)?)"
    match = re.fullmatch(rf"{number}(?:\s*(%|\^|\*\*|/)\s*{number}?)?", text)
    if match is None:
        return ""
    first, sign, second = match.groups()
    try:
        of = float(first), float(second or 100)
        meant = of[0] if not sign else of[0] / of[1] if sign in "%/" else of[0] ** of[1]
    except (ArithmeticError, ValueError):
        return ""
    written = format(meant, ".6g") if sign else first.replace("_", "")
    return f"Write {written}, without quotes." if isinstance(meant, float) and math.isfinite(meant) else ""


def for_values(values: object) -> str:
    """Return how to write values as a list in brackets that were given as a range or a text; empty if unclear."""
    text = values.strip() if isinstance(values, str) else ""
    number = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*"
    called = r"(?:np\.|numpy\.)?(range|arange|linspace|logspace)"
    if match := re.fullmatch(rf"{called}\(({number}(?:,{number}){{0,2}})\)", text):
        return _in_brackets(match[1], match[2].split(","))
    if match := re.fullmatch(rf"({number})(?:\.\.|:)({number})(?::({number}))?", text):
        return _in_brackets("range", [one for one in match.groups() if one])
    if re.fullmatch(r"[^,\[\]{}]+(,[^,\[\]{}]+)+", text):
        return f"Write it in brackets: [{text}]."
    if isinstance(values, Mapping):
        return "Write the values themselves, as in [1, 2]."
    return ""


def _in_brackets(kind: str, words: list[str]) -> str:
    try:
        given = [float(word) for word in words]
        if kind in ("linspace", "logspace"):
            low, high, count = given if len(given) == 3 else (*given[:2], 50.0)
            number, step = int(count), (high - low) / max(int(count) - 1, 1)
        else:
            low, high, step = {1: (0.0, given[0], 1.0), 2: (*given[:2], 1.0)}.get(len(given), tuple(given[:3]))
            number = math.ceil((high - low) / step - 1e-9)
        few = [low + step * at for at in range(min(number, _MOST_WRITTEN))]
        found = [f"{10**one if kind == 'logspace' else one:.6g}" for one in few]
    except (ArithmeticError, ValueError, TypeError):
        return ""
    more = ", ..." if number > len(found) else ""
    return f"Write the values out: [{', '.join(found)}{more}]." if found else ""
