"""Makes the standard streams safe: they may have any encoding, be closed or full, or have lost their reader.

A failing message must never end the work. So a character that a stream cannot encode becomes the nearest one that it
can, and text that cannot be written is dropped and the failure remembered. Loads only the standard library.
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

#: Exit code of a program whose pipe nobody reads any more (as if ended by SIGPIPE).
NO_READER = 128 + 13

#: Commands whose work is more than their output; it is done even if the output cannot be written.
_DOING = ("run", "resume", "mirror", "submit", "stop", "export")

#: ASCII replacements of characters that cannot be derived from their Unicode names.
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

#: ASCII replacements by patterns of Unicode names.
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

#: Name of this module's error handler for characters that an encoding lacks.
_NEAREST = "sweeper.nearest"


def nearest(text: str) -> str:
    """Return a text in ASCII, with other characters replaced by the nearest plain ones or a question mark."""
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
    """Return the replacement for a character that cannot be encoded, as an error handler of Python's codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = error.object[error.start]
    if 0xDC80 <= ord(one) <= 0xDCFF:  # an undecodable byte of a file's name: write it as it was read
        return bytes([ord(one) - 0xDC00]), error.start + 1
    return _plain(one), error.start + 1


class _Kept(io.RawIOBase):
    """A raw stream for a descriptor that drops bytes if they cannot be written.

    Attributes:
        trouble: Why bytes were dropped; None if none were.
        owner: The original stream, which would close the descriptor if it were garbage-collected.
    """

    def __init__(self, descriptor: int, owner: TextIO | None = None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.owner = owner
        self.trouble: OSError | None = None

    def writable(self) -> bool:
        """Return True: it can always be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Write the bytes, and drop the rest after an error; return the number of all bytes."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another program made the pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.trouble = self.trouble or error
                break
        return size


def keep_streams() -> None:
    """Replace both output streams such that writing never fails; closed ones lead to the null device.

    A stream without a descriptor stays as it is, and so does a user's own choice of an error handler.
    """
    codecs.register_error(_NEAREST, _replaced)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next opened file would take its number and receive the output
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    sys.stdout, sys.stderr = _kept(sys.stdout, 1), _kept(sys.stderr, 2)


def _kept(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # it was closed when Python started
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
    """Return why part of the standard output was dropped; None if nothing was."""
    raw = _raw(sys.stdout)
    if raw is not None and not sys.stdout.closed:
        sys.stdout.flush()
    return raw.trouble if raw else None


def leave_without_reader() -> None:
    """End a command that only reports progress, if nobody reads its output any more.

    Raises:
        SystemExit: With `NO_READER`, as a program in a shell ends then.
    """
    if (lost := trouble()) is not None and lost.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
        sys.exit(NO_READER)


@contextmanager
def kept_streams(words: Sequence[str]) -> Iterator[None]:
    """Make the streams safe while a command runs, and report at its end if output could not be written.

    The exit code stays, except for a command whose only work was an answer that could not be written.

    Args:
        words: The command and its arguments.

    Raises:
        SystemExit: With the command's exit code, or with 2 if its answer was lost.
    """
    keep_streams()
    try:
        yield
    except SystemExit as ended:
        lost = trouble()
        if lost is None or lost.errno in (errno.EPIPE, errno.EBADF):  # the reader stopped by choice
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
