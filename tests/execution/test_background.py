"""A context in its own thread: entered without waiting, left by the same thread, its errors raised to the caller."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from sweeper.execution.background import Background


class Log:
    """Contexts that note which thread enters and leaves them, and that wait or fail as a test says."""

    def __init__(self):
        self.threads, self.may_enter = {}, threading.Event()

    @contextmanager
    def context(self, entering=None, leaving=None):
        self.threads["entered"] = threading.current_thread()
        assert self.may_enter.wait(60)
        if entering:
            raise entering
        try:
            yield "value"
        finally:
            self.threads["left"] = threading.current_thread()
            if leaving:
                raise leaving


def test_caller_goes_on_while_the_context_is_entered_and_one_thread_holds_it_to_the_end():
    log = Log()
    with Background(log.context) as background:
        log.may_enter.set()  # reached only if `Background` does not wait for entering
        assert background.result() == background.result() == "value"
        assert "left" not in log.threads
        assert log.threads["entered"].is_alive(), "Linux may end what it started with it"
    assert log.threads["left"] is log.threads["entered"] is not threading.current_thread()
    assert not log.threads["left"].is_alive()


def test_context_is_left_at_once_when_it_is_not_needed_any_more():
    log = Log()
    log.may_enter.set()
    with Background(log.context) as background:
        background.result()
        background.leave()
        log.threads["entered"].join(60)
        assert "left" in log.threads
        background.leave()


def test_context_that_nobody_asked_for_is_left_all_the_same():
    log = Log()
    with Background(log.context):
        log.may_enter.set()
    assert "left" in log.threads


def test_what_entering_raises_is_raised_where_somebody_waits_and_nowhere_else():
    log = Log()
    log.may_enter.set()
    with Background(lambda: log.context(entering=OSError("no room"))) as background:
        for _ in range(2):
            with pytest.raises(OSError, match="no room"):
                background.result()
    with Background(lambda: log.context(entering=OSError("no room"))):
        pass


def test_what_leaving_raises_is_raised_unless_something_else_is():
    log = Log()
    log.may_enter.set()
    with pytest.raises(OSError, match="cannot leave"), Background(lambda: log.context(leaving=OSError("cannot leave"))):
        pass
    with pytest.raises(KeyError), Background(lambda: log.context(leaving=OSError("x"))) as background:  # noqa: PT012
        background.result()
        raise KeyError
