"""Hostile input: specs, network files and conditions, drawn by a grammar together with their right interpretation."""

from __future__ import annotations

import io
import json
import operator
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from safetensors.torch import load as tensors_of
from safetensors.torch import save as safetensors_bytes

from sweeper.model.saved_network import digest

# --- specs -----------------------------------------------------------------------------------------

_PRESSURES = ("breadth_pressure", "depth_pressure", "time_pressure")


@dataclass(frozen=True)
class Wanted:
    """The meaning of a valid spec, as its grammar knows it.

    Attributes:
        values: Values of each axis, in order.
        fixed: Fields of every setting, by their flat names.
        replicates: Number of settings that differ only in the seed.
    """

    values: dict[str, list]
    fixed: dict[str, object]
    replicates: int

    @property
    def count(self):
        return self.replicates * int(np.prod([len(values) for values in self.values.values()]))


@st.composite
def valid_specs(draw):
    """Draw a spec as plain values, and its meaning."""
    values = {}
    if draw(st.booleans()):
        values["classes"] = draw(st.lists(st.integers(2, 10), unique=True, min_size=1, max_size=3))
    for name in draw(st.lists(st.sampled_from(_PRESSURES), unique=True, min_size=0 if values else 1, max_size=2)):
        values[name] = draw(
            st.lists(st.sampled_from([0, 1e-4, 2e-3, 0.5, 3, 1e2]), unique=True, min_size=1, max_size=3)
        )
    layers, steps, channels = draw(st.integers(1, 4)), draw(st.integers(2, 8)), draw(st.integers(1, 9))
    epochs, batch_size = draw(st.integers(1, 500)), draw(st.integers(1, 300))
    replicates, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**31 - 9))
    spec = {
        "name": draw(st.from_regex(r"[a-z][a-z0-9_.-]{0,20}[a-z0-9]", fullmatch=True)),
        "task": {"data": "digits"},
        "lattice": {"layers": layers, "steps": steps, "channels": channels},
        "parameters": {name: {"values": its} for name, its in values.items()},
        "training": {"epochs": epochs, "batch_size": batch_size},
        "replicates": replicates,
        "seed": seed,
        "objectives": [{"name": "accuracy", "goal": "maximize"}, {"name": "time", "goal": "minimize"}],
        "reference_point": {"accuracy": 0, "time": steps + 1},
    }
    fixed = {
        "lattice.layers": layers,
        "lattice.steps": steps,
        "lattice.channels": channels,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    return spec, Wanted(values, fixed, replicates)


@st.composite
def written(draw, spec):
    """Write a spec in one of YAML's notations."""
    kind = draw(st.sampled_from(["block", "flow", "json", "anchors", "shuffled", "commented"]))
    items = list(spec.items())
    if kind == "shuffled":
        items = draw(st.permutations(items))
    data = dict(items)
    if kind == "json":
        return json.dumps(data)
    if kind == "anchors":
        text = yaml.safe_dump({**data, "lattice": None}, sort_keys=False, default_flow_style=True, width=10**6)
        return text.replace("lattice: null", "lattice: &same " + json.dumps(data["lattice"]))
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None if kind == "block" else kind == "flow")
    if kind == "commented":
        text = "# a comment: {[\n" + text.replace("\n", "  # ü, {[\n") + "\n\n"
    return text


#: Texts to put in the place of values.
WRONG_VALUES = [
    "null", "true", "[]", "{}", "[[[[]]]]", "-1", "0", "1e300", "-1e300", "1e400", ".nan", ".inf", "-.inf", "1e-320", "0x10",
    "1_000", "0,001", "'1'", "\"\\u0000\"", "''", "nan", "~", "!!python/object/apply:os.system ['touch CANARY']",
    "!!python/object/new:pathlib.Path ['CANARY']", "!!binary aGVsbG8=", "!!set {a, b}", "2026-11-30", "12:30:45",
    "&a [*a]", "*nowhere", "<<", "{<<: {a: 1}}", "9" * 400, "max", "Minimize", "-", "?", ": ", "|", ">", "%", "@", "`",
    "\"\\x1b[31m\"", "../../etc/passwd", "/etc/passwd", "~/x", "$HOME", "{a: 1, a: 2}", "[1, 1]", "{min: 1, max: 0}",
    "{values: []}", "{values: [nan]}", "{distribution: uniform, min: .nan, max: 1}", "\u202e", "\ud7ff", "日本", "é" * 50,
]  # fmt: skip


@st.composite
def mutated_texts(draw, text):
    """Change a text at a few places, as mistakes and attacks do; the result may equal the original."""
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        place = draw(st.integers(0, len(text)))
        how = draw(
            st.sampled_from([
                "value",
                "drop",
                "double",
                "cut",
                "insert",
                "swap",
                "key",
                "brackets",
                "case",
                "tab",
                "list",
            ])
        )
        if how == "value" and ":" in lines[at]:
            key, _, _ = lines[at].rpartition(":")
            lines[at] = f"{key}: {draw(st.sampled_from(WRONG_VALUES))}"
        elif how == "drop":
            del lines[at]
        elif how == "double":
            lines.insert(at, lines[at])
        elif how == "key":
            lines.insert(at, draw(st.sampled_from([
                "metric: {name: accuracy, goal: max}", "method: bayes", "unknown_key: 1", "seed: 3", "Seed: 3", "objectives: accuracy",
                "early_terminate: {type: hyperband}", "run_cap: 5", "<<: *same", "? [a, b]\n: 1", "1: 2", "null: 1", "search: {trials: 1e9}",
                "lattice: {layers: 99999999}", "replicates: 1000000000", "fronts: [[accuracy, accuracy]]", "probes: {noise: [2, .nan]}",
                "placement: {population: -1, gpus: nan}", "early_stopping: {min_epochs: 1e9, factor: 1}", "--- \nb: 1", "...\n",
            ])))  # fmt: skip
        elif how == "list":
            number = draw(st.sampled_from([100, 3000, 20_000]))
            lines.insert(at, f"parameters: {{breadth_pressure: {{values: [{', '.join(map(str, range(number)))}]}}}}")
        elif how == "brackets":
            lines.insert(at, draw(st.sampled_from("[{")) * draw(st.integers(1, 2000)))
        elif how == "case":
            lines[at] = lines[at].swapcase()
        elif how == "tab":
            lines[at] = "\t" + lines[at]
        elif how == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        text = "\n".join(lines)
        if how == "cut":
            text = text[:place]
        elif how == "insert":
            text = text[:place] + draw(st.text(max_size=6) | st.sampled_from(WRONG_VALUES)) + text[place:]
    return text


# --- network files ---------------------------------------------------------------------------------


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return (Path.touch, (Path(self.canary),))


@st.composite
def hostile_files(draw, whole, canary):
    """Draw a file that may be given as a network's file.

    Returns:
        The kind and the bytes of the file.
    """
    kind = draw(st.sampled_from([
        "whole", "bytes", "bytes", "cut", "longer", "inserted", "header", "size", "pickle", "torch", "zip", "tensors", "tensors",
        "content", "content", "other", "text",
    ]))  # fmt: skip
    if kind == "whole":
        return kind, whole
    data = bytearray(whole)
    if kind == "bytes":
        for _ in range(draw(st.integers(1, 8))):
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        return kind, bytes(data)
    if kind == "cut":
        return kind, bytes(data[: draw(st.integers(0, len(data) - 1))])
    if kind == "longer":
        return kind, bytes(data) + draw(st.binary(min_size=1, max_size=200))
    if kind == "inserted":
        at = draw(st.integers(0, len(data)))
        return kind, bytes(data[:at]) + draw(st.binary(min_size=1, max_size=20)) + bytes(data[at:])
    if kind == "size":
        return kind, struct.pack("<Q", draw(st.integers(0, 2**64 - 1))) + bytes(data[8:])
    if kind == "header":
        text = json.dumps(draw(_JSON)).encode()
        return kind, struct.pack("<Q", len(text)) + text + draw(st.binary(max_size=64))
    if kind == "pickle":
        return kind, pickle.dumps({"sweeper": Evil(canary)}, protocol=draw(st.integers(0, 5)))
    if kind in ("torch", "zip"):
        sink = io.BytesIO()
        if kind == "torch":
            torch.save({"w": torch.ones(2), "x": Evil(canary)}, sink)
        else:
            with zipfile.ZipFile(sink, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(Evil(canary)))
                archive.writestr("../" * draw(st.integers(0, 5)) + "CANARY", b"x")
        return kind, sink.getvalue()
    if kind == "text":
        return kind, draw(st.text(max_size=200)).encode("utf-8", "surrogatepass")
    tensors = dict(tensors_of(whole))
    content = json.loads(json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]["sweeper"])
    content.pop("sha256")
    if kind == "other":
        return kind, safetensors_bytes(tensors, draw(st.sampled_from([None, {"format": "pt"}, {"sweeper": "{}"}])))
    if kind == "tensors":
        name = draw(st.sampled_from(sorted(tensors)))
        how = draw(
            st.sampled_from(["drop", "nan", "inf", "shape", "double", "half", "int", "bool", "empty", "more", "scalar"])
        )
        tensor = tensors.pop(name)
        changed = {
            "nan": lambda: torch.full_like(tensor, float("nan"), dtype=torch.float32),
            "inf": lambda: torch.full_like(tensor, float("-inf"), dtype=torch.float32),
            "shape": lambda: torch.cat([tensor.float(), tensor.float()]) if tensor.dim() else torch.ones(2),
            "double": tensor.double,
            "half": tensor.half,
            "int": tensor.int,
            "bool": lambda: tensor.to(torch.bool),
            "empty": lambda: torch.empty(0),
            "scalar": lambda: torch.tensor(1.0),
        }
        if how == "more":
            tensors |= {name: tensor, draw(st.text(max_size=9)) + "x": torch.ones(3)}
        elif how != "drop":
            tensors[name] = changed[how]().contiguous()
    else:
        place = content
        for _ in range(draw(st.integers(0, 2))):
            inner = [name for name, value in place.items() if isinstance(value, dict) and value]
            place = place[draw(st.sampled_from(inner))] if inner else place
        name = draw(st.sampled_from(sorted(place)))
        if draw(st.booleans()):
            place.pop(name)
        else:
            place[name] = draw(_JSON | st.sampled_from([2**62, -1, 1e308, "9" * 999, [1] * 999, True, [[[]]]]))
    try:
        sealed = digest(content, {name: tensor.numpy() for name, tensor in tensors.items()})
    except (TypeError, ValueError, AttributeError):  # this kind of content has no digest
        sealed = "0" * 64
    return kind, safetensors_bytes(tensors, {"sweeper": json.dumps({**content, "sha256": sealed})})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)

# --- conditions ------------------------------------------------------------------------------------

COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Leaf:
    name: str
    operator: str
    word: str


@dataclass(frozen=True)
class Joined:
    word: str
    parts: tuple


def conditions(rows):
    """Return a strategy of conditions on rows, with values that are in the rows and values close to them."""
    names = sorted({name for row in rows for name in row} - {"sweep"})  # the command already selects the sweep
    numbers = [n for n in names if all(isinstance(row.get(n), int | float | None) and not isinstance(row.get(n), bool)
                                       for row in rows) and any(row.get(n) is not None for row in rows)]  # fmt: skip
    words = [n for n in names if any(isinstance(row.get(n), str) for row in rows)]
    values = sorted({float(row[n]) for row in rows for n in numbers if row.get(n) is not None})
    number = st.builds(
        lambda value, style: style.format(value),
        st.sampled_from(values) | st.floats(-10, 10) | st.integers(-3, 3),
        st.sampled_from(["{!r}", "{:g}", "{:e}", "{:.1f}"]),
    )
    word = st.sampled_from(
        sorted({str(row[n]) for row in rows for n in words if row.get(n)} | {"nosuch", "or", "and", ")"})
    )
    leaves = st.builds(Leaf, st.sampled_from(numbers), st.sampled_from(sorted(COMPARE)), number) | st.builds(
        Leaf, st.sampled_from(words), st.sampled_from(["=", "==", "!="]), word
    )
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            Joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
        ),
        max_leaves=8,
    )


def meant(condition, row):
    """Return whether a row meets a condition, computed in the slow and obvious way."""
    if isinstance(condition, Joined):
        return (all if condition.word == "and" else any)(meant(part, row) for part in condition.parts)
    value = row.get(condition.name)
    if value is None:
        return False
    wanted = condition.word if isinstance(value, str) else float(condition.word)
    return COMPARE[condition.operator](value, wanted)


def typed(condition, draw):
    """Write a condition with random spaces, upper and lower case, and parentheses that keep its meaning."""
    space = draw(st.sampled_from(["", " ", "  "]))
    if isinstance(condition, Leaf):
        is_number = _is_number(condition.word)
        word = condition.word if is_number else "'" + condition.word + "'"
        text = f"{space}{condition.name}{space}{condition.operator}{space}{word}"
        return f"({text}{space})" if draw(st.booleans()) else text
    word = draw(st.sampled_from([condition.word, condition.word.upper(), condition.word.title()]))
    parts = []
    for part in condition.parts:
        text = typed(part, draw)
        binds_weaker = isinstance(part, Joined) and (condition.word, part.word) == ("and", "or")
        parts.append(f"({text}{space})" if binds_weaker or draw(st.booleans()) else text)
    return f" {word} ".join(parts)


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


#: Texts that are no conditions.
NO_CONDITION = ["(", ")", "((", "and", "or", "not", ">=", "=<", "=!", "<>", "~", ";", "--", "__import__('os').system('touch CANARY')",
                "1/0", "'", '"', "\\", "\0", "\n", "nan", "inf", "1e999", "999999999999999999999999", "accuracy", "acuracy > 1",
                "accuracy > x", "task > 1", "key", "ü", "[0]", "{}", "`", "$(id)", "%s", "{0}", "accuracy >= 0.9 accuracy"]  # fmt: skip


@st.composite
def mutated_conditions(draw, condition):
    """Write a condition, and change it at a few places."""
    text = typed(draw(condition), draw)
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        how = draw(st.sampled_from(["insert", "drop", "replace", "double", "deep"]))
        new = draw(st.sampled_from(NO_CONDITION) | st.text(max_size=3))
        if how == "insert":
            text = text[:at] + new + text[at:]
        elif how == "drop":
            text = text[:at] + text[end:]
        elif how == "replace":
            text = new
        elif how == "double":
            text += text[at:end]
        else:
            text = "(" * draw(st.integers(1, 3000)) + text
    return text
