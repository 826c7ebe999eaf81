"""The recipe of a tracking server, without starting one: its refusals, and whether its files fit together."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement

from tests.faults.rig import ROOT
from tests.support.servers import RECIPE

COMPOSE = yaml.safe_load((RECIPE / "compose.yaml").read_text())


def recipe(name):
    """Load a script of the recipe as a module."""
    spec = importlib.util.spec_from_file_location(name, RECIPE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def files_of_other_tests_are_as_open_as_before():
    """Restores the umask: the server's script narrows it in its own process, which here is that of the tests."""
    before = os.umask(0o077)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """A function that starts the server's script with arguments that it must refuse; returns the one sentence."""
    server = recipe("server")
    monkeypatch.setattr(server.os, "execve", lambda *_: pytest.fail("the server was started"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["server.py", str(tmp_path / "served"), *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            server.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
        return err

    return call


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "8.8.8.8", "2001:4860:4860::8888"])
def test_address_that_the_world_may_reach_needs_a_word_of_its_own(refused, host):
    assert f"--host {host} may be reached from anywhere" in refused("--host", host, "--auth")


def test_address_beyond_this_machine_needs_a_login_or_a_word(refused):
    assert "--host 10.1.2.3 opens all runs" in refused("--host", "10.1.2.3")


def test_address_without_a_name_needs_the_names_of_clients(refused):
    assert "--allowed-hosts" in refused("--host", "0.0.0.0", "--everywhere", "--auth")


def test_names_of_all_hosts_are_refused(refused):
    assert "--allowed-hosts '*'" in refused("--allowed-hosts", "mlflow.lan,*")


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2hunter2@db/runs", "postgresql://db/runs?password=hunter2hunter2"]
)
def test_password_in_the_address_of_the_database_is_refused_and_not_repeated(refused, url):
    said = refused("--database", url)
    assert "holds a password" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--database", "mysql://db/runs"], "postgresql://user@host/database, but got the scheme 'mysql'"),
        (["--artifacts", "gs://bucket"], "s3://bucket/folder without a login, but got gs://"),
        (["--artifacts", "s3://key:word@bucket"], "without a login, but got s3://…"),
        (["--host", "mlflow.example"], "got 'mlflow.example'"),
    ],
)
def test_place_of_another_kind_is_refused_with_what_is_known(refused, words, said):
    assert said in refused(*words)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_secret_that_others_may_read_is_refused(refused, tmp_path, mode):
    file = tmp_path / "password"
    file.write_text("hunter2hunter2")
    file.chmod(mode)
    said = refused("--database", "postgresql://me@db/runs", "--database-password-file", file)
    assert f"{file} (mode {mode:o}). Run: chmod 600 {file}" in said


@pytest.mark.parametrize("file", ["nowhere", "empty"])
def test_secret_that_is_not_there_is_refused(refused, tmp_path, file):
    (tmp_path / "empty").touch(0o600)
    assert str(tmp_path / file) in refused(
        "--database", "postgresql://me@db/runs", "--database-password-file", tmp_path / file
    )


@pytest.mark.skipif(importlib.util.find_spec("flask_wtf") is None, reason="pip install 'pareto-sweeper[server]'")
def test_password_of_the_administrator_that_mlflow_would_refuse_is_refused(refused, tmp_path):
    file = tmp_path / "password"
    file.write_text("short")
    file.chmod(0o600)
    said = refused("--auth", "--admin-password-file", file)
    assert f"{file} is too short" in said


def test_what_the_server_is_started_with_holds_no_secret_in_its_arguments(tmp_path, monkeypatch, capsys):
    server, started = recipe("server"), []
    monkeypatch.setattr(server.os, "execve", lambda *of: started.extend(of))
    file = tmp_path / "password"
    file.write_text("hunter2hunter2\n")
    file.chmod(0o600)
    of_database = ["--database", "postgresql://me@db/runs", "--database-password-file", file]
    of_bucket = ["--artifacts", "s3://bucket/mlflow", "--s3-secret-file", file]
    monkeypatch.setattr(sys, "argv", [*map(str, ["server.py", tmp_path / "served", 5005, *of_database, *of_bucket])])
    server.main()
    _, command, environment = started
    assert "hunter2" not in f"{command} {capsys.readouterr()}"
    assert (environment["PGPASSWORD"], environment["AWS_SECRET_ACCESS_KEY"]) == ("hunter2hunter2", "hunter2hunter2")
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://me@db/runs"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1] == "127.0.0.1,localhost,127.0.0.1:5005,localhost:5005"


# --- compose.yaml ---------------------------------------------------------------------------------


def test_services_of_the_composition_refer_to_what_it_has():
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert set(service.get("depends_on", {})) <= COMPOSE["services"].keys()
        assert {volume.split(":")[0] for volume in service["volumes"]} <= COMPOSE["volumes"].keys()
        assert all(COMPOSE["services"][name]["healthcheck"] for name in service.get("depends_on", {}))


def test_composition_uses_all_that_it_declares():
    services = COMPOSE["services"].values()
    for kind in ("secrets", "networks"):
        assert {name for service in services for name in service.get(kind, [])} == COMPOSE[kind].keys()
    assert {volume.split(":")[0] for service in services for volume in service["volumes"]} == COMPOSE["volumes"].keys()


def test_composition_opens_nothing_beyond_this_machine():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:${TRACKING_PORT:-5000}:5000"]
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert [name for name, service in COMPOSE["services"].items() if "front" in service["networks"]] == ["server"]


def test_composition_names_secrets_by_their_files_alone():
    for service in COMPOSE["services"].values():
        said = [f"{name}={value}" for name, value in service["environment"].items()]
        said += [word for line in service.get("command", []) for word in line.split(" && ")]
        about = [line for line in said if re.search("(?i)password|secret|token|://.*:.*@", line)]
        known = r"--?[\w-]+-file=/run/secrets/[\w-]+|\w+_FILE=/run/secrets/[\w-]+"
        known += r'|(\w+)="\$\$\(cat /run/secrets/[\w-]+\)"|export \w+'
        assert about, "each has one at least"
        assert [line for line in about if not re.fullmatch(known, line)] == []
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_composition_pins_every_image():
    for service in COMPOSE["services"].values():
        assert "build" in service or re.fullmatch(r"[\w./-]+:\d+\.\d+", service["image"])
    assert re.search(r"^FROM \S+:\d+\.\d+\.\d+", (RECIPE / "Dockerfile").read_text(), re.M)


def test_server_of_the_composition_is_asked_for_what_its_script_takes():
    words = [re.sub(r"\$\{\w+:-(\w*)\}", r"\1", word) for word in COMPOSE["services"]["server"]["command"]]
    server = recipe("server")
    asked = server.parsed(words)
    assert (str(asked.folder), asked.port, asked.auth) == ("/data", 5000, True)
    assert server.allowed(asked, "0.0.0.0").split(",")[:2] == ["127.0.0.1", "localhost"]
    files = {asked.admin_password_file, asked.database_password_file, asked.s3_secret_file}
    assert {file.name for file in files} == set(COMPOSE["services"]["server"]["secrets"])
    assert str(server.address(asked)) == "0.0.0.0"


def test_secrets_of_the_composition_are_made_once_and_read_by_their_owner_alone(tmp_path):
    script = tmp_path / "make-secrets.sh"
    script.write_bytes((RECIPE / "make-secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["bash", script], check=True, capture_output=True)
        made = {path: path.read_text() for path in tmp_path.glob("secrets/*")}
        assert {f"secrets/{path.name}" for path in made} == {one["file"] for one in COMPOSE["secrets"].values()}
        assert all(path.stat().st_mode & 0o777 == 0o600 and len(text) > 24 for path, text in made.items())
        assert len(set(made.values())) == 3
    (user,) = (tmp_path / ".env").read_text().splitlines()
    assert user == f"TRACKING_USER={os.getuid()}:{os.getgid()}"
    subprocess.run(["bash", script], check=True, capture_output=True)
    assert {path: path.read_text() for path in tmp_path.glob("secrets/*")} == made


def test_image_gets_the_versions_that_are_tested_and_no_secret():
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M))
    for line in (RECIPE / "requirements.txt").read_text().splitlines()[1:]:
        wanted = Requirement(line)
        assert f"=={tested[wanted.name]}" == str(wanted.specifier)
    kept = [line.removeprefix("!") for line in (RECIPE / ".dockerignore").read_text().splitlines()]
    assert kept[0] == "*"
    assert all((RECIPE / name).is_file() for name in kept[1:])
