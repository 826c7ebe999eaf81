"""The standard streams as they are: of any encoding, closed, full, or with nobody who reads them any more.

What is said must never end what is done. So a character that a stream cannot hold becomes the nearest one that it can,
and what cannot be written is dropped and remembered. Loads nothing but the standard library.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import select
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

#: What a program that writes to a pipe is ended with when nobody reads it any more.
NO_READER = 128 + 13

#: Commands whose work is another than their answer: it is done, whatever can be said of it.
_DOING = ("run", "resume", "mirror", "submit", "stop", "export")

#: Nearest plain texts of characters whose names do not say them.
_PLAIN = {
    **{
        "±": "+-",
        "∓": "-+",
        "−": "-",
        "–": "-",
        "—": "-",
        "‐": "-",
        "‑": "-",
        "×": "x",
        "÷": "/",
        "⁄": "/",
        "·": ".",
        "•": "*",
    },
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∼": "~", "√": "sqrt", "∞": "inf", "°": " deg", "…": "..."},
    **{"→": "->", "←": "<-", "↔": "<->", "↑": "^", "↓": "v", "↕": "|", "⇒": "=>", "⇐": "<=", "⇔": "<=>"},
    **{"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "«": "<<", "»": ">>", "‹": "<", "›": ">"},
    **{"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d"},
    **{"✓": "ok", "✔": "ok", "✗": "x", "✘": "x", "\u200b": "", "\ufeff": "", "€": "EUR", "©": "(c)", "®": "(R)"},
}

#: The same by names, as Unicode gives them.
_BY_NAME = (
    (r"BOX DRAWINGS (?!.* AND ).*DOUBLE HORIZONTAL", "="),
    (r"BOX DRAWINGS (?!.* AND ).*HORIZONTAL", "-"),
    (r"BOX DRAWINGS (?!.* AND ).*VERTICAL", "|"),
    (r"BOX DRAWINGS (?!.*DIAGONAL)(LIGHT |HEAVY )?(LEFT|RIGHT)$", "-"),
    (r"BOX DRAWINGS (?!.*DIAGONAL)(LIGHT |HEAVY )?(UP|DOWN)$", "|"),
    (r"BOX DRAWINGS .*DIAGONAL CROSS", "X"),
    (r"BOX DRAWINGS .*DIAGONAL UPPER RIGHT", "/"),
    (r"BOX DRAWINGS .*DIAGONAL UPPER LEFT", "\\\\"),
    (r"BOX DRAWINGS ", "+"),
    (r"LIGHT SHADE$", "."),
    (r"(MEDIUM|DARK) SHADE$|.* BLOCK$|.*(EIGHTH|QUARTER|HALF)S? BLOCK|QUADRANT ", "#"),
    (r"UPWARDS .*ARROW", "^"),
    (r"DOWNWARDS .*ARROW", "v"),
    (r"RIGHTWARDS .*ARROW", "->"),
    (r"LEFTWARDS .*ARROW", "<-"),
)

#: Under which Python knows how we write what an encoding lacks.
_NEAREST = "sweeper.nearest"


def nearest(text: str) -> str:
    """Return a text in ASCII: each other character as the nearest plain ones, or else as a question mark."""
    return "".join(one if one.isascii() else _plain(one) for one in text)


def _plain(one: str) -> str:
    if one in _PLAIN:
        return _PLAIN[one]
    name = unicodedata.name(one, "")
    if letter := re.match(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?([A-Z]+)$", name):
        return letter[2].lower() if letter[1] == "SMALL" else letter[2].capitalize()
    for pattern, plain in _BY_NAME:
        if re.match(pattern, name):
            return plain.replace("\\\\", "\\")
    if unicodedata.combining(one):
        return ""
    parts = [part for part in unicodedata.normalize("NFKD", one) if not unicodedata.combining(part)]
    return "".join(part if part.isascii() else _PLAIN.get(part, "?") for part in parts)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written in place of what cannot be, as Python asks for it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = error.object[error.start]
    if 0xDC80 <= ord(one) <= 0xDCFF:  # a byte of a file's name that is no text: it is written as it was read
        return bytes([ord(one) - 0xDC00]), error.start + 1
    return _plain(one), error.start + 1


class _Kept(io.RawIOBase):
    """Bytes for a descriptor; what it does not take is dropped.

    Attributes:
        trouble: Why something was dropped; None where nothing was.
        owner: The stream that would close the descriptor if nobody held it.
    """

    def __init__(self, descriptor: int, owner: TextIO | None = None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.owner = owner
        self.trouble: OSError | None = None

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Write all of it, or as much as is taken."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # a pipe that another program has told not to wait
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.trouble = self.trouble or error
                break
        return size


def keep_streams() -> None:
    """Make both output streams such that writing to them never fails; those that are closed lead nowhere.

    A stream that is no descriptor's, or was told by its user how to write what its encoding lacks, is left so.
    """
    codecs.register_error(_NEAREST, _replaced)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # or the next file that is opened would take its place, and be written to by others
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    sys.stdout, sys.stderr = _kept(sys.stdout, 1), _kept(sys.stderr, 2)


def _kept(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # it was closed when Python began
        return io.TextIOWrapper(io.BufferedWriter(_Kept(descriptor)), "utf-8", _NEAREST, newline="\n")
    if type(stream) is not io.TextIOWrapper or _raw(stream) is not None:
        return stream
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    with suppress(OSError):
        stream.flush()
    errors = stream.errors if stream.errors not in ("strict", "surrogateescape", "backslashreplace") else _NEAREST
    return io.TextIOWrapper(
        io.BufferedWriter(_Kept(descriptor, stream)),
        stream.encoding,
        errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _raw(stream: TextIO) -> _Kept | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Kept) else None


def trouble() -> OSError | None:
    """Return why something of the standard output was dropped; None where nothing was."""
    raw = _raw(sys.stdout)
    if raw is not None and not sys.stdout.closed:
        sys.stdout.flush()
    return raw.trouble if raw else None


def leave_without_reader() -> None:
    """End a command that does nothing but say how something goes, where nobody reads that any more.

    Raises:
        SystemExit: As a program in a shell ends then.
    """
    if (lost := trouble()) is not None and lost.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
        sys.exit(NO_READER)


@contextmanager
def kept_streams(words: Sequence[str]) -> Iterator[None]:
    """Keep the streams while a command runs, and say at its end what could not be written.

    Its exit code stays, but for a command whose whole work was an answer that a full disk did not take.

    Args:
        words: The command and its arguments.

    Raises:
        SystemExit: As the command does; with 2 where its answer was lost.
    """
    keep_streams()
    try:
        yield
    except SystemExit as ended:
        lost = trouble()
        if lost is None or lost.errno in (errno.EPIPE, errno.EBADF):  # who reads no more has read what they wanted
            raise
        is_done = (words[:1] and words[0] in _DOING) or any(word.startswith(("-o", "--output")) for word in words)
        what = "what there was to say" if is_done else "the answer"
        print(
            f"sweeper: {what} could not be written to the standard output: {lost.strerror}. "
            "Make room, or send the output elsewhere.",
            file=sys.stderr,
        )
        if not ended.code and not is_done:
            sys.exit(2)
        raise
