"""Enters, holds and leaves a context in a separate thread, while the caller does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Background(Generic[_T]):
    """A context manager that enters another context in a thread without waiting for it, and leaves it at its own end.

    The same thread enters and leaves the context and lives in between, because Linux can bind the life of a process to
    the thread that started it.

    Args:
        context: Returns the context; called in the thread.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[_T]]) -> None:
        self._context = context
        self._is_entered, self._is_left = threading.Event(), threading.Event()
        self._value: list[_T] = []
        self._error: BaseException | None = None
        # A daemon thread, so that a second Ctrl-C ends the process without waiting for it.
        self._thread = threading.Thread(target=self._hold, name="sweeper-background", daemon=True)

    def __enter__(self) -> Background[_T]:
        self._thread.start()
        return self

    def result(self) -> _T:
        """Wait until the context is entered, and return its value.

        Raises:
            BaseException: Whatever entering the context raised.
        """
        self._is_entered.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]

    def leave(self) -> None:
        """Begin to leave the context without waiting; `__exit__` waits."""
        self._is_left.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
        self._thread.join()
        if self._error is not None and self._value and error is None:  # leaving failed, and `result` has not raised it
            raise self._error

    def _hold(self) -> None:
        try:
            with self._context() as value:
                self._value.append(value)
                self._is_entered.set()
                self._is_left.wait()
        except BaseException as error:  # `result` or `__exit__` raises it
            self._error = error
        finally:
            self._is_entered.set()
