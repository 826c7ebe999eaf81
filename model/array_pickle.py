"""Pickles of arrays and plain values, read without unpickling: nothing that a pickle names is imported or called.

CIFAR has been distributed as pickles since 2009. A pickle is a program, and unpickling lets it call any function. This
module instead reads its instructions one by one (`pickletools` splits them and runs none). It carries out only those
that make numbers, texts, lists, dicts and numpy's arrays of bytes and numbers, and refuses all others.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

#: The only functions and types that a pickle may name: those that a pickled array needs.
_RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
_FROM_BUFFER = frozenset({"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"})
_NDARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"

#: Kinds of numpy numbers that are accepted, and the most instructions that one file may have.
_KINDS, _MOST = "biuf", 5_000_000


class PickleError(ValueError):
    """A pickle is damaged, or holds something other than plain values and arrays of numbers."""


@dataclass
class _Name:
    text: str


@dataclass
class _Type:
    code: str
    order: str = "="


@dataclass
class _Array:
    values: np.ndarray[Any, Any] | None = None


class _Mark:
    pass


def read(data: bytes) -> object:
    """Return what a pickle holds.

    Raises:
        PickleError: If the pickle is damaged, or holds something other than plain values and arrays of numbers.
    """
    try:
        return _plain(_run(data))
    except PickleError:
        raise
    except RecursionError:
        raise PickleError("it is nested too deeply") from None
    except Exception as error:  # a damaged pickle may lead to an empty stack, a missing memo or bytes of a wrong length
        raise PickleError(f"it is damaged ({type(error).__name__})") from error


def _run(data: bytes) -> object:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > _MOST:
            raise PickleError(f"it has more than {_MOST:,} parts")
        name = opcode.name
        if name == "STOP":
            return stack.pop()
        if name in {"PROTO", "FRAME"}:
            continue
        if name in _VALUES:
            stack.append(argument)
        elif name in _BYTES:
            stack.append(argument.encode("latin-1") if isinstance(argument, str) else bytes(argument or b""))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in {"EMPTY_DICT", "EMPTY_LIST"}:
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            stack.append(_Mark())
        elif name in {"GLOBAL", "STACK_GLOBAL"}:
            if name == "STACK_GLOBAL":
                member, module = stack.pop(), stack.pop()
                argument = f"{module} {member}"
            if argument not in {*_RECONSTRUCT, *_FROM_BUFFER, _NDARRAY, _DTYPE, _ENCODE}:
                raise PickleError(f"it names {str(argument).replace(' ', '.')[:80]!r}, which no file of images needs")
            stack.append(_Name(argument))
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in {"TUPLE", "LIST", "DICT"}:
            items = _since_mark(stack)
            stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
        elif name == "APPEND":
            item = stack.pop()
            _of(stack[-1], list).append(item)
        elif name == "APPENDS":
            items = _since_mark(stack)
            _of(stack[-1], list).extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _of(stack[-1], dict)[_key(key)] = value
        elif name == "SETITEMS":
            items = _since_mark(stack)
            _of(stack[-1], dict).update(_pairs(items))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(_of(called, _Name).text, _of(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], _of(state, tuple))
        else:
            raise PickleError(f"it holds the instruction {name}, which no file of images needs")
    raise PickleError("it ends too early")


_VALUES = frozenset({
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
})
#: Instructions that push bytes; texts of Python 2 are bytes too.
_BYTES = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def _since_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while not isinstance(item := stack.pop(), _Mark):
        items.append(item)
    return items[::-1]


def _of(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise PickleError(f"it calls or fills a {type(value).__name__.strip('_').lower()}")
    return value


def _key(key: Any) -> Any:
    if not isinstance(key, str | bytes | int):
        raise PickleError("it has a name that is no text")
    return key


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _called(name: str, arguments: tuple[Any, ...]) -> object:
    """Return what the named function would: an empty array, a type of numbers, or bytes that were stored as a text."""
    if name in _RECONSTRUCT and isinstance(arguments[0], _Name) and arguments[0].text == _NDARRAY:
        return _Array()
    if name in _FROM_BUFFER:
        data, kind, shape, order = arguments
        return _Array(_values(data, kind, shape, order == "F"))
    if name == _DTYPE:
        return _Type(_as_text(arguments[0]))
    if name == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", b"latin1"):
        return _as_text(arguments[0]).encode("latin-1")
    raise PickleError(f"it calls {name.replace(' ', '.')} in a way that no array needs")


def _build(target: object, state: tuple[Any, ...]) -> None:
    """Fill an empty array, or set the byte order of a type of numbers."""
    if isinstance(target, _Type):
        target.order = _as_text(state[1])
    elif isinstance(target, _Array):
        _, shape, kind, is_fortran, data = state
        target.values = _values(data, kind, shape, bool(is_fortran))
    else:
        raise PickleError("it fills something that is no array")


def _values(data: object, kind: object, shape: tuple[int, ...], is_fortran: bool) -> np.ndarray[Any, Any]:
    """Return an array of numbers."""
    found = np.dtype(_of(kind, _Type).code)
    if found.kind not in _KINDS or found.hasobject or not isinstance(data, bytes):
        raise PickleError(f"it holds an array of {found}, which are no pixels")
    order = _of(kind, _Type).order
    values = np.frombuffer(data, found.newbyteorder(order if order in "<>" else "="))
    return values.reshape(shape, order="F" if is_fortran else "C")


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise PickleError("it has a number where a text should be")


def _plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """Return a value with numpy arrays in place of `_Array`s; a value that occurs twice is converted once."""
    seen = {} if seen is None else seen
    if id(value) not in seen:
        seen[id(value)] = _made(value, seen)
    return seen[id(value)]


def _made(value: Any, seen: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.values is None:
            raise PickleError("it holds an array without numbers")
        return value.values
    if isinstance(value, _Name | _Type | _Mark):
        raise PickleError("it holds something that is no value")
    if isinstance(value, dict):
        return {key: _plain(one, seen) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one, seen) for one in value)
    return value
