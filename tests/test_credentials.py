"""Passwords in addresses, with any characters: messages hide them, and command lines refuse them."""

from __future__ import annotations

import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import storage
from sweeper.cli import run as cli
from sweeper.credentials import login_of, redacted, secrets_of
from sweeper.ledger.database import without_password
from sweeper.ledger.home import NOT_KEPT, Home

#: Passwords with every character that has a meaning in an address.
PASSWORDS = ("hunter2", "hun ter2", "hun\tter2", "hun@ter2", "hun/ter2", "12/hunter2", "hun:ter2", "hun?ter#2", "hun%2Fter2",
             "hun%20ter2", "@hunter2", "/hunter2", "hünter2", "hun=ter&2", "[hunter2]", "hunter2@", "p@ss/w:rd hunter2", "hun'ter\"2")  # fmt: skip
SCHEMES = ("http", "https", "postgresql", "postgresql+psycopg", "mysql+pymysql", "s3", "abfs", "gs", "ray")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_password_is_hidden_in_its_address_and_in_what_is_said_of_it(scheme, password):
    uri = f"{scheme}://me:{password}@host:5432/db"
    assert secrets_of(uri) == [password]
    assert redacted(uri) == f"{scheme}://***@host:5432/db"
    said = f"could not open {uri}: no route to host:5432 for {password!r} or {quote(password, '')} at http://h:5000/a"
    for text in (redacted(said, uri), redacted(f"first line\n{said}", uri)):
        assert "hunter2" not in text
        assert password not in text
        assert "no route to host:5432" in text
        assert "http://h:5000/a" in text
    assert password not in redacted(f"could not open {uri}: no route to host")
    assert password not in storage.without_credentials(uri)
    assert password not in without_password(uri)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=4).filter(str.strip))
def test_any_password_is_hidden_in_its_address(password):
    for uri in (f"postgresql://me:{password}@host/db", f"http://host/path?password={quote_plus(password)}"):
        assert quote_plus(password) not in redacted(uri).partition("@host")[0].replace("http://host/path?password", "")
    assert redacted(f"postgresql://me:{password}@host/db") == "postgresql://***@host/db"


@pytest.mark.parametrize(
    "text",
    [
        "http://mlflow.example:5000",
        "http://mlflow.example:5000/prefix/#/experiments/1/runs?orderByKey=metrics.a&x=1",
        "http://[::1]:5000/p@q",
        "http://h/p@q",
        "sqlite:////home/me@site/a:b@c/mlflow.db",
        "file:///home/me@site",
        "could not reach http://h:5000: ask admin@site, or see http://i/j",
        "s3://bucket/folder",
        "no address at all: a@b",
    ],
)
def test_what_holds_no_login_is_left_as_it_is(text):
    assert redacted(text) == text
    assert secrets_of(text) == []


def test_user_alone_is_no_secret_and_is_hidden_all_the_same():
    assert login_of("postgresql://me@host/db") == "me"
    assert secrets_of("postgresql://me@host/db") == []
    assert redacted("postgresql://me@host/db") == "postgresql://***@host/db"


@pytest.mark.parametrize(
    "text",
    [
        "s3://b/f?secret_key=hunter2",
        "s3://b/f?a=1&access_key=x&session_token=hunter2",
        "postgresql://h/db?password=hunter2",
        "postgresql://h/db?sslpassword=hunter2",
        "abfs://c@a/f?sas=hunter2",
        "http://h/?sig=hunter2",
        "host=h dbname=d password=hunter2",
        "http://h/?X-Amz-Signature=hunter2",
    ],
)
def test_keys_in_parameters_are_hidden(text):
    assert "hunter2" not in redacted(text)
    assert "hunter2" not in redacted(f"could not open {text}, said the server")


def test_home_keeps_no_address_with_a_password(tmp_path):
    folder = Home(tmp_path).sweep("a")
    folder.path.mkdir()
    for password in PASSWORDS:
        folder.keep_tracking_uri(f"http://me:{password}@host")
        assert folder.tracking_uri == NOT_KEPT
    folder.keep_tracking_uri("http://host?api_key=hunter2")
    assert folder.tracking_uri == NOT_KEPT


# --- command lines --------------------------------------------------------------------------------

COMMANDS = {
    "run": ("quickstart",),
    "resume": ("first",),
    "mirror": ("first",),
    "submit": ("quickstart", "--address", "http://127.0.0.1:9"),
    "pareto": ("first",),
    "trials": ("first",),
    "findings": ("first",),
    "plot": ("first",),
    "report": ("first",),
    "status": (),
    "watch": ("first",),
    "ui": ("first",),
    "show": ("abcdef",),
    "steps": ("abcdef", "a.parquet"),
    "export": ("abcdef",),
    "audit": ("first",),
    "doctor": (),
    "stop": ("first",),
    "logs": ("first",),
    "list": (),
    "delete": ("first",),
    "archive": ("first",),
    "unarchive": ("first.zip",),
    "clean": (),
    "rename": ("first", "final"),
}


@pytest.mark.parametrize("password", ["hunter2", "hun ter2/@:"])
@pytest.mark.parametrize(
    ("option", "uri", "instead"),
    [
        ("--tracking-uri", "http://me:{}@host:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("--ledger", "postgresql://me:{}@host/db", "~/.pgpass"),
        ("--storage", "s3://key:{}@bucket/folder", "AWS_SECRET_ACCESS_KEY"),
        ("--storage", "s3://bucket/folder?secret_key={}", "AWS_SECRET_ACCESS_KEY"),
        ("--address", "http://me:{}@head:8265", "RAY_AUTH_TOKEN_PATH"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_password_in_an_address_before_anything_else(
    command, option, uri, instead, password, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = uri.format(password)
    for words in ((option, given), (f"{option}={given}",)):
        monkeypatch.setattr(sys, "argv", ["sweeper", command, *COMMANDS[command], *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert err.startswith(f"sweeper: {option} must hold no password or key")
        assert instead in err
        assert "hun" not in err
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_tried():
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert known - COMMANDS.keys() == {"init", "validate", "plan"}, "they take no address"


def test_address_with_a_password_in_the_environment_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hun ter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(sys, "argv", ["sweeper", "pareto", "first"])
    with pytest.raises(SystemExit):
        cli.main()
    err = capsys.readouterr().err
    assert "MLflow at http://***@127.0.0.1:9" in err or "at http://***@127.0.0.1:9" in err
    assert "ter2" not in err
