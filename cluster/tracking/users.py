#!/usr/bin/env python3
"""Create and change the users of a tracking server with a login, using only the standard library.

The server's address and the login of an administrator (your own login for `password`) come from MLFLOW_TRACKING_URI,
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; a missing password is asked for. New passwords are asked for, or
read from the standard input if that is no terminal. A password is never an argument, which every user could see.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import os
import sys
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

USERS, GRANTS = "/api/2.0/mlflow/users", "/api/3.0/mlflow/users/permissions"
PERMISSIONS = ("READ", "EDIT", "MANAGE", "DENY")


def fail(sentence: str) -> NoReturn:
    """End with one sentence, as a user's mistake."""
    print(f"users: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="users.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, what in (
        ("add", "make a user, who may read what others made and change what is their own"),
        ("password", "give a user another password"),
        ("remove", "remove a user; what they made stays"),
        ("list", "list all users"),
        ("grant", "let a user do something with a sweep that another user made"),
    ):
        added = commands.add_parser(command, help=what, description=what)
        if command != "list":
            added.add_argument("user")
        if command == "grant":
            added.add_argument("sweep", help="its name, which is that of its MLflow experiment")
            added.add_argument("permission", choices=PERMISSIONS)
    return parser.parse_args(arguments)


class Server:
    """A tracking server, used with an administrator's login."""

    def __init__(self, uri: str, user: str, password: str) -> None:
        self._uri = uri.rstrip("/")
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()

    def ask(self, method: str, path: str, *, unless: str = "", **values: str) -> Any:
        """Send a request, and return the answer; None if it fails with the error code `unless`."""
        is_get = method == "GET"
        url = f"{self._uri}{path}" + (f"?{urlencode(values)}" if is_get and values else "")
        request = Request(url, None if is_get else json.dumps(values).encode(), method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Basic {self._login}")
        try:
            with urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"{}")
        except HTTPError as error:
            text = error.read(2000).decode("utf-8", "replace")
            if unless and unless in text:
                return None
            self._refused(error, text)
        except (URLError, OSError, ValueError) as error:
            fail(f"{self._uri} does not answer as MLflow does: {getattr(error, 'reason', error)}.")

    def _refused(self, error: HTTPError, text: str) -> NoReturn:
        if error.code == 401:
            fail(
                f"{self._uri} does not know this user and password (HTTP 401). Set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD to those of an administrator."
            )
        if error.code == 403:
            fail(f"{self._uri} lets only an administrator do that (HTTP 403). Set MLFLOW_TRACKING_USERNAME to one.")
        try:
            text = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            text = text.strip()[:300] or str(error.reason)
        fail(f"{self._uri} refuses: {text}")


def asked_for(prompt: str) -> str:
    """Return a password that is typed invisibly, or the first line of piped input."""
    if sys.stdin.isatty():
        found = getpass.getpass(f"{prompt}: ")
        if getpass.getpass(f"{prompt} again: ") != found:
            fail("the two passwords differ. Try again.")
        return found
    return sys.stdin.readline().rstrip("\r\n")


def main() -> None:
    """Carry out one command, and report it."""
    asked = parsed()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "http://127.0.0.1:5000"
    if not uri.startswith(("http://", "https://")) or "@" in uri:
        fail("MLFLOW_TRACKING_URI must be http://host:port of a server, without a login in it.")
    admin = os.environ.get("MLFLOW_TRACKING_USERNAME") or "admin"
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or getpass.getpass(f"password of {admin}: ")
    server = Server(uri, admin, password)
    if asked.command == "list":
        for user in server.ask("GET", f"{USERS}/list")["users"]:
            print(f"{user['username']}{' (administrator)' if user['is_admin'] else ''}")
    elif asked.command == "add":
        server.ask("POST", f"{USERS}/create", username=asked.user, password=asked_for(f"password of {asked.user}"))
    elif asked.command == "password":
        new = asked_for(f"new password of {asked.user}")
        own = {"current_password": password} if asked.user == admin else {}
        server.ask("PATCH", f"{USERS}/update-password", username=asked.user, password=new, **own)
    elif asked.command == "remove":
        server.ask("DELETE", f"{USERS}/delete", username=asked.user)
    else:
        grant(server, asked)
    if asked.command != "list":
        print(f"done: {asked.command} {asked.user}")


def grant(server: Server, asked: argparse.Namespace) -> None:
    """Grant a user a permission on the experiment of a sweep, in place of any earlier one."""
    found = server.ask("GET", "/api/2.0/mlflow/experiments/get-by-name", experiment_name=asked.sweep)
    what = {"username": asked.user, "resource_type": "experiment", "resource_id": found["experiment"]["experiment_id"]}
    server.ask("POST", f"{GRANTS}/revoke", unless="RESOURCE_DOES_NOT_EXIST", **what)
    server.ask("POST", f"{GRANTS}/grant", permission=asked.permission, **what)


if __name__ == "__main__":
    main()
