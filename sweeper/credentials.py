"""Finds and hides passwords and keys in addresses and in messages about them, whatever characters they have.

A login may hold spaces, `@`, `/` and percent escapes, although by the rules of URIs it should not. In case of doubt a
text counts as a login and is hidden.
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus, unquote, unquote_plus

#: Replaces a hidden secret.
HIDDEN = "***"

#: Matches names of parameters and variables whose values are secret.
SECRET_NAME = re.compile(
    r"(?i)pass(?!ive)|pwd|token|secret|credential|^key$|_key$|(access|api|account|private|shared)_?key|sas$|sig(nature)?$"
)

_URI = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")

#: Encodings in which clients may repeat a secret.
_WAYS = (unquote, unquote_plus, quote, quote_plus, lambda one: quote(one, ""), lambda one: repr(one)[1:-1])

#: A parameter of a query, or of a connection string; its name and its value.
_PARAMETER = r"(?i)([?&;\s]|^)([\w.-]+)(\s*=\s*)([^&;\s]+)"

#: Matches from the beginning of an address to the last `@` of its line, unless it begins with a host and a port.
_LOGIN_WITH_SPACES = re.compile(r"(://)(?!\[)[^\s/@:]+:(?!\d+(?:[/:\s.,]|$))(?:(?!://)[^\n])*@")


def login_of(uri: str) -> str:
    """Return user and password of an address, as they are written; empty if there are none."""
    found = _URI.match(uri)
    rest = uri[found.end() :] if found else ""
    before, at, _ = rest.rpartition("@")
    if not at or rest.startswith("/"):
        return ""
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    has_colon = ":" in re.sub(r"^\[[^\]]*\](:\d+)?", "", before)
    return before if "@" in first or has_colon else ""


def secrets_of(uri: str) -> list[str]:
    """Return passwords and keys of an address, as they are written."""
    password = login_of(uri).partition(":")[2]
    query = uri.rpartition("?")[2] if "?" in uri else ""
    named = [one.partition("=") for one in re.split("[&;]", query)]
    return [one for one in (password, *(value for name, _, value in named if SECRET_NAME.search(name))) if one]


def redacted(text: str, *uris: str) -> str:
    """Return a text without the logins, passwords and keys of the addresses in it.

    Args:
        text: An address, or a message about addresses.
        uris: Addresses that the text may be about: their secrets are hidden wherever they stand alone, in every
            encoding.
    """
    for uri in uris:
        for secret in sorted({login_of(uri), *secrets_of(uri)} - {""}, key=len, reverse=True):
            for written in dict.fromkeys([secret, *(way(secret) for way in _WAYS)]):
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(written)}(?![A-Za-z0-9])", HIDDEN, text)
    if _URI.match(text) and text.count("://") == 1 and "\n" not in text.strip():
        if login := login_of(text):
            text = text.replace(f"://{login}@", f"://{HIDDEN}@", 1)
    else:
        text = _LOGIN_WITH_SPACES.sub(rf"\1{HIDDEN}@", text)
        text = re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", _without_login, text)
    return re.sub(_PARAMETER, _without_value, text)


def _without_login(found: re.Match[str]) -> str:
    login = login_of(found[0])
    return found[0].replace(f"://{login}@", f"://{HIDDEN}@", 1) if login else found[0]


def _without_value(found: re.Match[str]) -> str:
    before, name, equals, _ = found.groups()
    return f"{before}{name}{equals}{HIDDEN}" if SECRET_NAME.search(name) else found[0]
