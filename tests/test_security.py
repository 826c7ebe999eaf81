"""Foreign input runs no code and reaches no other file: names, keys, specs, and everything in storage."""

from __future__ import annotations

import ast
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from sweeper.cli import run as cli
from sweeper.credentials import SECRET_NAME
from sweeper.errors import QueryError, SpecError, TrackingError
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import download_front
from sweeper.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[1]
COMMANDS = typer.main.get_command(cli.app).commands

#: Commands that take the name of a sweep.
NAMED = [
    command
    for command, known in COMMANDS.items()
    if any(parameter.name == "name" and parameter.param_type_name == "argument" for parameter in known.params)
]

OUTSIDE = ["../evil", "..", ".", "/etc/passwd", "a/b", "a\\b/../c", "-", "", "a" * 101, "%2e%2e%2fevil", "~", "a\nb"]


def called(monkeypatch, *words):
    """Run a command line in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["sweeper", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_every_command_that_takes_a_name_is_tried():
    assert {
        "status",
        "watch",
        "resume",
        "mirror",
        "audit",
        "pareto",
        "trials",
        "plot",
        "report",
        "ui",
        "stop",
        "logs",
    } <= set(NAMED)


@pytest.mark.parametrize("command", NAMED)
def test_no_name_leads_out_of_the_home(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI", "SWEEPER_HOME", "SWEEPER_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "ledger.db").write_bytes(b"not ours")
    before = content(tmp_path)
    for name in OUTSIDE:
        assert called(monkeypatch, command, "--", name, *(["new"] if command == "rename" else [])) == 2, name
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "name must hold" in said or "no cluster" in said or "none is named" in said, (name, said)
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_spec_names_a_sweep_that_leads_out_of_the_home(name, tmp_path):
    text = load_spec("quickstart").text
    with pytest.raises(SpecError, match="name must hold"):
        load_spec("quickstart", name=name)
    (tmp_path / "spec.yaml").write_text(text.replace("name: quickstart", f"name: {ascii_yaml(name)}"))
    with pytest.raises(SpecError, match="name"):
        load_spec(tmp_path / "spec.yaml")


def ascii_yaml(text):
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


class Run:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("dump", [pickle.dumps, "torch"])
def test_checkpoint_that_would_run_something_is_refused_and_not_run(dump, tmp_path):
    trap, file = tmp_path / "trap", tmp_path / "p.pt"
    if dump == "torch":
        buffer = io.BytesIO()
        torch.save({"epoch": 3, "state": Run(trap)}, buffer)
        file.write_bytes(buffer.getvalue())
    else:
        file.write_bytes(dump({"epoch": 3, "state": Run(trap)}))
    problems = []
    assert list(Checkpoints(str(file)).states(problems)) == []
    assert len(problems) == 1
    assert not trap.exists()
    pickle.loads(pickle.dumps(Run(trap)))
    assert trap.exists()  # the trap works


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "fronts/../../../secret", "file:///etc/passwd"])
def test_front_whose_stored_path_leads_elsewhere_is_not_read(path, empty_database, tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_database.read_bytes())
    (tmp_path / "secret").write_bytes(b"hush")
    client = connect(f"sqlite:///{file}")
    experiment = client.create_experiment("x", artifact_location=f"file://{tmp_path}/artifacts/a/b")
    run = client.create_run(experiment)
    with pytest.raises((TrackingError, QueryError)) as raised:
        download_front(client, client.get_run(run.info.run_id), "digits", {"path": path, "version": 1})
    assert "hush" not in str(raised.value)


#: Calls that may run code in the data that they read. `dangerous` also checks `torch.load`.
FORBIDDEN = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("pickle", "Unpickler"),
    ("cloudpickle", "load"),
    ("cloudpickle", "loads"),
    ("joblib", "load"),
    ("marshal", "loads"),
    ("shelve", "open"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("os", "system"),
    ("os", "popen"),
}


def dangerous(source):
    """Return the calls in a source text that may run code in the data that they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if isinstance(name, ast.Name) and name.id in {"eval", "exec"}:
            found.append(name.id)
        if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name):
            pair = (name.value.id, name.attr)
            if pair in FORBIDDEN or (pair == ("torch", "load") and words.get("weights_only") != "True"):
                found.append(".".join(pair))
            if pair[0] in {"np", "numpy"} and pair[1] == "load" and words.get("allow_pickle", "False") != "False":
                found.append("numpy.load")
        if words.get("shell") == "True":
            found.append("shell")
    return found


#: Allowed calls: they read what Ray carries from the driver to its workers, which Ray would unpickle itself, and
#: which is never stored.
WITHIN_A_RUN = {"sweeper/execution/worker.py": {"cloudpickle.loads"}}


def test_nothing_that_is_read_is_run():
    files = [file for folder in ("sweeper", "model") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): set(dangerous(file.read_text(encoding="utf-8"))) for file in files}
    assert {file: names for file, names in found.items() if names} == WITHIN_A_RUN


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(data)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_what_runs_what_it_reads_is_found(source):
    assert len(dangerous(source)) == 1


# --- SECURITY.md, sentence by sentence ------------------------------------------------------------

#: Stands for a sentence of SECURITY.md that promises nothing about this program: it says what others do, what is not
#: protected, or what a reader should do. `SENTENCES` gives the test that proves each other sentence, by its beginning.
ADVICE = ""
_OWN = "tests/driver/test_own_parts.py"
_CREDENTIALS, _SECURITY, _NETWORKS = (
    "tests/test_credentials.py",
    "tests/test_security.py",
    "tests/model/test_network_file.py",
)
_LIVE = "tests/results/test_live_report.py"
_RECIPE, _SUBMIT = "tests/cluster/test_tracking_recipe.py", "tests/cluster/test_submit.py"
SENTENCES = {
    "What is protected against what": ADVICE,
    "Report a hole": ADVICE,
    "| whoever may start jobs": ADVICE,
    "| whoever may write to the storage": f"{_SECURITY}::test_nothing_that_is_read_is_run",
    "| whoever sends you a report": "tests/cli/test_steps.py::test_what_a_network_file_names_is_neither_run_nor_fetched",
    "| whoever sends you a spec": "tests/spec/test_images.py::test_function_is_not_run_by_reading_a_spec",
    "| whoever may look at": f"{_SUBMIT}::test_submitted_sweep_survives_its_driver_and_a_node_and_its_token_is_nowhere",
    "A Ray cluster runs the code": ADVICE,
    "So:": ADVICE,
    "Every cluster that the recipes": "tests/cluster/test_launcher.py::test_dashboard_is_on_the_loopback_and_every_node_asks_for_the_token",
    "It comes from a file": "tests/cluster/test_launcher.py::test_no_secret_stands_in_a_file",
    "No command here takes a token": f"{_SECURITY}::test_no_command_takes_a_token_or_a_password_as_an_option",
    "Every command refuses an address": f"{_CREDENTIALS}::test_every_command_refuses_a_password_in_an_address_before_anything_else",
    "`sweeper submit` refuses one from a variable": "tests/driver/test_package.py::test_place_that_cannot_be_meant_or_holds_a_secret_is_refused_without_repeating_it",
    "Tests search logs": f"{_SUBMIT}::test_submitted_sweep_survives_its_driver_and_a_node_and_its_token_is_nowhere",
    "A Ray that `sweeper run` starts": f"{_SECURITY}::test_ray_that_is_started_here_listens_on_the_loopback_alone",
    "It asks for a token of its own": "tests/faults/test_daemons.py::test_ray_of_a_run_lets_nobody_in_and_leaves_no_folder",
    "With `RAY_AUTH_MODE=disabled` it": ADVICE,
    "The token travels in the clear": ADVICE,
    "Keep a cluster in a private network": ADVICE,
    "`cluster/local` opens nothing": f"{_SUBMIT}::test_nothing_of_a_cluster_listens_outside_of_the_loopback",
    "What every other recipe opens": ADVICE,
    "Logins come from the environment": f"{_CREDENTIALS}::test_every_command_refuses_a_password_in_an_address_before_anything_else",
    "`MLFLOW_TRACKING_USERNAME` and": "tests/checks/test_doctor.py::test_login_that_mlflow_would_send_is_tried_where_a_tracking_server_asks_for_one",
    "A password in an address that comes": f"{_CREDENTIALS}::test_password_is_hidden_in_its_address_and_in_what_is_said_of_it",
    "MLflow without `--auth`": f"{_RECIPE}::test_address_beyond_this_machine_needs_a_login_or_a_word",
    "**Names**": f"{_SECURITY}::test_no_name_leads_out_of_the_home",
    "The files that a spec names": f"{_SECURITY}::test_files_that_a_spec_names_are_read_as_images_alone_and_stay_as_they_are",
    "**Code that a spec names**": f"{_OWN}::test_what_cannot_be_used_is_refused_before_anything_is_planned",
    "The driver and all commands": f"{_OWN}::test_finished_sweep_is_read_and_mirrored_again_without_its_code",
    "**Images** are decoded": "tests/model/test_decoding.py::test_formats_that_run_programs_of_others_are_not_read",
    "CIFAR's files,": "tests/model/test_sources.py::test_pickle_that_would_run_something_is_refused_and_not_run",
    "**A function of your own** that": "tests/training/test_own_function.py::test_what_asks_for_a_signature_imports_in_a_process_of_its_own",
    "Commands that read a sweep": "tests/driver/test_own_functions.py::test_commands_that_read_never_import_the_function",
    "What it keeps is read": "tests/training/test_own_function.py::test_whatever_a_function_does_is_an_outcome",
    "**Checkpoints** are read": f"{_SECURITY}::test_checkpoint_that_would_run_something_is_refused_and_not_run",
    "**networks** are safetensors": f"{_NETWORKS}::test_file_cut_off_anywhere_is_refused",
    "**Reports** are one file": "tests/results/test_report.py::test_only_the_scripts_of_the_page_may_run",
    "**Pages that `sweeper ui` serves** are": "tests/cli/test_ui.py::test_home_is_served_with_its_page_and_mlflow_and_every_end_leaves_no_process",
    "Nothing else is answered": f"{_LIVE}::test_page_its_script_and_its_state_are_served_and_nothing_else",
    "A request under a name": f"{_LIVE}::test_page_is_refused_under_any_other_name",
    "They have no login": ADVICE,
    "MLflow, which is served beside": ADVICE,
    "An address with a password is on": "tests/tracking/test_serving.py::test_address_with_a_password_is_on_no_command_line",
    "**Archives** may come": "tests/upkeep/test_archives.py::test_hostile_archive_is_refused_in_one_sentence_and_leaves_nothing",
    "Reading one runs nothing": f"{_SECURITY}::test_nothing_that_is_read_is_run",
    "What its spec names": ADVICE,
    "Ray itself pickles": ADVICE,
    "That is why its token": ADVICE,
    "Whoever has your user account": ADVICE,
    "Denial of service": ADVICE,
    "The confidentiality of results": ADVICE,
    "Sweeps of different people": ADVICE,
}


def sentences():
    """Return the sentences and table rows of SECURITY.md."""
    text = re.sub(r"\n(?=[^\n#|-])", " ", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "|--", "| who |"))]
    parts = [[line] if line.startswith("|") else re.split(r"(?<=[.:;])\s+(?=[A-Z*`])", line) for line in lines]
    return [part.strip().removeprefix("- ").strip() for line in parts for part in line]


def test_every_sentence_of_the_page_is_proved_by_a_test_that_exists_or_promises_nothing():
    said = sentences()
    assert len(said) > 30
    for sentence in said:
        assert len([begin for begin in SENTENCES if sentence.startswith(begin)]) == 1, f"without a test: {sentence}"
    for begin, proof in SENTENCES.items():
        assert [sentence for sentence in said if sentence.startswith(begin)], f"SECURITY.md does not say: {begin}"
        if proof:
            file, _, name = proof.partition("::")
            assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), proof


def test_no_command_takes_a_token_or_a_password_as_an_option():
    options = {option for known in COMMANDS.values() for one in known.params for option in one.opts}
    assert "--ledger" in options
    assert [option for option in options if option.startswith("-") and SECRET_NAME.search(option)] == []


def test_files_that_a_spec_names_are_read_as_images_alone_and_stay_as_they_are(tmp_path, monkeypatch, capsys):
    secret = "root:x:0:0:a very private line"
    for name in ("plain.txt", "plain.parquet"):
        (tmp_path / name).write_text(secret)
        (tmp_path / "spec.yaml").write_text(
            f"task: {{data: {name}}}\nparameters: {{}}\nobjectives: [{{name: accuracy, goal: maximize}}]\n"
            "reference_point: {accuracy: 0}\n"
        )
        before = content(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert called(monkeypatch, "plan", "spec.yaml") == 2
        said = capsys.readouterr()
        assert "private" not in said.out + said.err
        assert (tmp_path / name).read_text() == secret
        assert content(tmp_path) == before


#: Code that starts a Ray, and prints the addresses at which the machine listens only since then.
WITH_A_RAY = """
from pathlib import Path
from sweeper.execution import ray_cluster

def listening():
    files = ["/proc/net/tcp", "/proc/net/tcp6"]
    lines = [line.split() for file in files for line in Path(file).read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[3] == "0A"}

before = listening()
with ray_cluster.connected(None, cpus=1):
    print(*(listening() - before))
"""


@pytest.mark.slow
def test_ray_that_is_started_here_listens_on_the_loopback_alone():
    done = subprocess.run([sys.executable, "-P", "-c", WITH_A_RAY], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    hosts = [address.partition(":")[0] for address in done.stdout.split()]
    assert len(hosts) > 3
    assert set(hosts) <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
