"""Files that travel to a cluster, and files that never do."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.cli import run as cli
from sweeper.cli.live_view import live_line
from sweeper.driver.jobs import submission
from sweeper.driver.jobs.package import Locations, driver_command, packed, runtime_environment, spec_digest
from sweeper.driver.jobs.server import SweepJob, readable
from sweeper.errors import ClusterError, SpecError, SweepBusyError
from sweeper.spec import load_spec
from sweeper.tracking.live import LiveState, TaskState, View


@pytest.fixture(scope="module")
def loaded():
    return load_spec("quickstart")


def test_what_is_packed_runs_by_itself_and_says_what_it_was_taken_from(loaded, tmp_path):
    with packed(loaded) as folder:
        assert (folder / "spec.yaml").read_text() == loaded.text
        assert not list(folder.rglob("__pycache__"))
        command = [sys.executable, "-P", "-m", "sweeper", "plan", "--help"]  # -P: ignores packages in this folder
        asked = (
            "from sweeper.provenance import software; import sweeper; print(sweeper.__file__, software()['sweeper'])"
        )
        environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = subprocess.run(
            [sys.executable, "-P", "-c", asked],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.startswith(str(folder))
        note = json.loads((folder / "sweeper/shipped.json").read_text())
        assert note["version"]
    assert not folder.exists()


def test_command_names_every_place_as_one_word(loaded):
    places = Locations("/data/with space", "http://mlflow:5000", "s3://bucket/a b", "postgresql://me@db/sweeps", 4)
    words = shlex.split(driver_command(loaded, places))
    assert words[:5] == ["python", "-m", "sweeper", "run", "spec.yaml"]
    given = dict(zip(words[5:-1:2], words[6:-1:2], strict=True))
    assert given == {
        "--name": "quickstart",
        "--tracking-uri": "http://mlflow:5000",
        "--storage": "s3://bucket/a b",
        "--ledger": "postgresql://me@db/sweeps",
        "--workers": "4",
        "--home": "/data/with space",
    }
    assert words[-1] == "--take-on"


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and "://" not in text))
def test_no_home_leaves_its_place_in_the_command(text):
    command = driver_command(load_spec("quickstart"), Locations(f"/{text}"))
    assert shlex.split(command)[-2] == f"/{text}"


def test_home_of_the_heads_user_is_left_to_its_shell(loaded):
    command = driver_command(loaded, Locations("~/my sweeps; rm -rf /"))
    assert "--home ~/'my sweeps; rm -rf /' --take-on" in command


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"home": "s3://bucket/sweeps"}, "--home names a folder on the head"),
        ({"home": "sweeps"}, "--home must be the whole path"),
        ({"home": "~other/sweeps"}, "--home must be the whole path"),
        ({"tracking_uri": "http://me:hush@mlflow:5000"}, "MLFLOW_TRACKING_PASSWORD"),
        ({"tracking_uri": "sqlite:///mlflow.db"}, "must mean the same on every machine"),
        ({"tracking_uri": "mlruns"}, "must mean the same on every machine"),
        ({"storage": "checkpoints"}, "must mean the same on every machine"),
        ({"storage": "s3://id:hush@bucket/x"}, "AWS_SECRET_ACCESS_KEY"),
        ({"storage": "s3://bucket/x?secret_key=hush"}, "AWS_SECRET_ACCESS_KEY"),
        ({"ledger": "postgresql://me:hush@db/sweeps"}, "PGPASSWORD"),
        ({"ledger": "postgresql://db/sweeps?password=hush"}, "PGPASSWORD"),
    ],
)
def test_place_that_cannot_be_meant_or_holds_a_secret_is_refused_without_repeating_it(places, said):
    with pytest.raises(ClusterError, match=said) as raised:
        Locations(**places)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "uri", ["sqlite:////data/mlflow.db", "http://mlflow:5000", "https://me@mlflow.lab", "file:///data", "/data/x"]
)
def test_place_that_means_the_same_everywhere_is_taken(uri):
    assert Locations(tracking_uri=uri, storage="/data/x").facts["sweeper.tracking_uri"] == uri


def test_runtime_environment_brings_packages_and_no_secret(tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text("pip: [scipy]\nenv_vars: {OMP_NUM_THREADS: 1}\n")
    assert runtime_environment(file) == {"pip": ["scipy"], "env_vars": {"OMP_NUM_THREADS": "1"}}
    for name in ("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "WANDB_API_KEY"):
        file.write_text(f"env_vars: {{{name}: hush}}\n")
        with pytest.raises(ClusterError, match=name) as raised:
            runtime_environment(file)
        assert "hush" not in str(raised.value)
    file.write_text("working_dir: .\n")
    with pytest.raises(ClusterError, match="working_dir"):
        runtime_environment(file)
    file.write_text("[1, 2\n")
    with pytest.raises(SpecError, match=r"env\.yaml"):
        runtime_environment(file)
    with pytest.raises(SpecError, match=r"missing\.yaml"):
        runtime_environment(tmp_path / "missing.yaml")


def test_digest_is_of_what_a_spec_means(tmp_path):
    text = load_spec("quickstart").text
    (tmp_path / "a.yaml").write_text(text + "\n# a remark\n")
    assert spec_digest(load_spec(tmp_path / "a.yaml")) == spec_digest(load_spec("quickstart"))
    (tmp_path / "a.yaml").write_text(text.replace("updates: 1200", "updates: 1300"))
    assert spec_digest(load_spec(tmp_path / "a.yaml")) != spec_digest(load_spec("quickstart"))


def test_images_that_only_the_cluster_has_are_taken_at_their_word(tmp_path):
    text = load_spec("quickstart").text.replace("data: digits", "data: images/cifar.parquet")
    assert "cifar" in text
    (tmp_path / "elsewhere.yaml").write_text(text)
    with pytest.raises(SpecError, match="that exists"):
        load_spec(tmp_path / "elsewhere.yaml")
    loaded = load_spec(tmp_path / "elsewhere.yaml", is_elsewhere=True)
    assert f"--relative-to {tmp_path}" in driver_command(loaded, Locations())
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "spec.yaml").write_text(text)
    there = load_spec(folder / "spec.yaml", name="elsewhere", folder=Path(tmp_path), is_elsewhere=True)
    assert [s.key for s in there.spec.settings()] == [s.key for s in loaded.spec.settings()]


class Server:
    """A job server that remembers the jobs that it was given; all of them have written the same log."""

    def __init__(self, *jobs, log=""):
        self.known = list(jobs)
        self.written = log

    def log(self, job):
        if self.written is None:
            raise ClusterError("could not read the log")
        return self.written

    def jobs(self, sweep):
        return self.known

    def submit(self, job, command, folder, environment):
        self.known.append(job)
        return job


def ended(number, code, loaded, **facts):
    status = "SUCCEEDED" if code == 0 else "FAILED"
    facts = {"sweeper.spec": spec_digest(loaded), "sweeper.home": "/data", **facts}
    return SweepJob("quickstart", number, status, facts, 1, 2, code)


def test_sweep_is_kept_where_it_was_unless_nothing_was_planned_there(loaded):
    server = Server(ended(1, 143, loaded))
    assert submission.submit(server, loaded, {"workers": 2}).job.facts["sweeper.home"] == "/data"
    server = Server(ended(1, 143, loaded), ended(2, 2, loaded, **{"sweeper.home": "/typo"}))
    with pytest.raises(ClusterError, match="submitted with --home /data, and now with --home /new"):
        submission.submit(server, loaded, {"home": "/new"})
    assert submission.submit(server, loaded, {}).job.facts["sweeper.home"] == "/data"
    for log in ("sweeper: /data cannot be written.\n", None):
        server = Server(ended(1, 2, loaded), log=log)
        assert submission.submit(server, loaded, {"home": "/new"}).job.facts["sweeper.home"] == "/new"


def test_sweep_that_a_mistake_or_a_full_disk_ended_is_kept_where_it_was(loaded):
    log = f"note: starting\n{live_line(View(LiveState('quickstart', (TaskState('digits', 8, complete=3),))))}\n"
    server = Server(ended(1, 2, loaded), log=log)
    with pytest.raises(ClusterError, match="submitted with --home /data, and now with --home /new"):
        submission.submit(server, loaded, {"home": "/new"})
    assert submission.submit(server, loaded, {}).job.facts["sweeper.home"] == "/data"


def test_home_of_the_cluster_may_be_anything_here(loaded, tmp_path):
    (tmp_path / "file").touch()
    job = ended(1, 0, loaded, **{"sweeper.home": f"{tmp_path}/file"})
    assert submission.tracking_uri_of(job) == f"sqlite:///{tmp_path}/file/mlflow.db"
    assert submission.live_state(job) is None


def test_secret_is_refused_also_where_the_sweep_runs_already(loaded):
    running = SweepJob("quickstart", 1, "RUNNING", {"sweeper.spec": spec_digest(loaded), "sweeper.home": "/data"}, 1)
    assert submission.submit(Server(running), loaded, {}).job == running
    with pytest.raises(ClusterError, match="MLFLOW_TRACKING_PASSWORD") as raised:
        submission.submit(Server(running), loaded, {"tracking_uri": "http://me:hush@mlflow:5000"})
    assert "hush" not in str(raised.value)


def test_with_a_ledger_in_a_database_any_home_will_do_but_no_other_ledger(loaded):
    server = Server(ended(1, 143, loaded, **{"sweeper.ledger": "postgresql://db/one"}))
    with pytest.raises(ClusterError, match="with --ledger postgresql://db/two"):
        submission.submit(server, loaded, {"ledger": "postgresql://db/two"})
    job = submission.submit(server, loaded, {"home": "/new"}).job
    assert (job.facts["sweeper.home"], job.facts["sweeper.ledger"]) == ("/new", "postgresql://db/one")


def test_complete_sweep_is_not_submitted_and_a_grown_one_is(loaded):
    server = Server(ended(1, 0, loaded))
    assert submission.submit(server, loaded, {}).is_complete
    assert len(server.known) == 1
    server = Server(ended(1, 0, loaded, **{"sweeper.spec": "another"}))
    assert submission.submit(server, loaded, {}).is_new
    assert server.known[-1].number == 2


def test_log_is_without_what_ray_says_of_its_insides():
    log = "note: a worker died\n    [state-dump] \tGcs - 2 total\n    [state-dump] \n\n3/4 trials done\n"
    assert readable(log) == "note: a worker died\n\n3/4 trials done\n"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAY_ADDRESS": "http://127.0.0.1:9"}, "no job server can be reached at http://127.0.0.1:9"),
        ({"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:7", "RAY_ADDRESS": "http://127.0.0.1:9"}, "http://127.0.0.1:7"),
        ({"RAY_ADDRESS": "127.0.0.1:6379"}, "Name the job server of its head with --address"),
        ({"RAY_API_SERVER_ADDRESS": "127.0.0.1:6379"}, "but got 127.0.0.1:6379"),
        ({"RAY_API_SERVER_ADDRESS": "http://me:hush@127.0.0.1:9"}, "but got http://***@127.0.0.1:9"),
    ],
)
@pytest.mark.parametrize("command", [("submit", "quickstart"), ("logs", "quickstart")])
def test_job_server_is_found_where_rays_own_commands_find_it(command, variables, said, monkeypatch, capsys):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["sweeper", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert (ended.value.code, said in err, "hush" in err) == (2, True, False), err


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "taken"), [("wires", ["my_costs.py"]), ("tuned", ["mlp.py", "tuned.py"]), ("quickstart", [])]
)
def test_code_of_ones_own_is_taken_along_and_nothing_else_of_its_folder(spec, taken):
    own = EXAMPLES / f"{spec}.yaml"
    found = load_spec(own if own.is_file() else spec, is_elsewhere=True)
    with packed(found) as folder:
        assert sorted(path.name for path in folder.glob("*.py")) == taken
        assert [(folder / name).read_text() for name in taken] == [(EXAMPLES / name).read_text() for name in taken]
    assert "--relative-to" not in driver_command(found, Locations())


def test_code_that_leads_out_of_its_folder_or_is_too_large_does_not_travel(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere.py").write_text("def train(width: int): ...\n")
    (tmp_path / "here" / "linked.py").symlink_to(tmp_path / "elsewhere.py")
    text = (
        "{name: own, train: 'linked:train', parameters: {width: {value: 1}}, measures: {accuracy: share}, "
        "objectives: [{name: accuracy, goal: maximize}], reference_point: {accuracy: 0}}"
    )
    (tmp_path / "here" / "own.yaml").write_text(text)
    loaded = load_spec(tmp_path / "here" / "own.yaml", is_elsewhere=True)
    with pytest.raises(ClusterError, match=r"leads out of its folder, to .*elsewhere\.py\. Put a copy"), packed(loaded):
        pass
    (tmp_path / "here" / "linked.py").unlink()
    (tmp_path / "here" / "linked.py").write_text("def train(width: int): ...\n" + "# much\n" * 3_500_000)
    loaded = load_spec(tmp_path / "here" / "own.yaml", is_elsewhere=True)
    with pytest.raises(ClusterError, match="more than 20 MiB"), packed(loaded):
        pass


def test_other_code_is_no_submission_of_the_same_sweep(tmp_path):
    (tmp_path / "own.py").write_text("def train(width: int): ...\n")
    loaded = load_spec("quickstart")
    digest = {"sweeper.spec": spec_digest(loaded), "sweeper.code": "of another file"}
    job = SweepJob("quickstart", 1, "RUNNING", {"sweeper.spec": spec_digest(loaded)})
    with pytest.raises(SweepBusyError, match=r"runs already, as job .*, with other code"):
        submission._agreed(job, digest)
    assert submission._agreed(job, {**digest, "sweeper.code": ""}) is job
