"""The call of a user's own function, as workers receive it: a worker imports it on unpickling."""

from __future__ import annotations

import pickle

from sweeper.execution.worker import packed
from sweeper.job import Job
from sweeper.training.own_function import call_function
from sweeper.training.own_work import CALLED, FunctionWork


def test_it_becomes_the_call_where_it_is_unpacked():
    assert pickle.loads(packed(FunctionWork())) is call_function
    assert call_function.__module__ == CALLED


def test_it_calls_the_function_where_it_is_not_sent_anywhere(tmp_path):
    (tmp_path / "plainly.py").write_text("def train(depth: int):\n    return {'accuracy': depth}\n")
    setting = {"train": "plainly:train", "argument.depth": 3, "seed": 0}
    job = Job("k", "train", ("a",), (setting,), (True,), own_folder=str(tmp_path), measures={"accuracy": "share"})
    (ended,) = FunctionWork()(job, lambda _: None)
    assert ended.measurement == {"accuracy": 3}
