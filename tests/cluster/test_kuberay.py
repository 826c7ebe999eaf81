"""The manifests for KubeRay: every field is one that the API servers know, and what they refer to exists."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.recipes import (
    CLUSTER,
    COMMANDS,
    PLACEHOLDER,
    ROOT,
    assert_understood,
    commands_in,
    takes_on,
    with_options,
)
from tests.faults.rig import HALF, PATIENCE_S, eventually

FOLDER = CLUSTER / "kuberay"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
TABLE = json.loads((ROOT / "tests/data/kuberay_fields.json").read_text(encoding="utf-8"))
TYPES = TABLE["ray.io/v1"] | TABLE["core/v1"]
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
MANIFEST_TEXTS = [path.read_text(encoding="utf-8") for path in MANIFESTS]
TEXTS = {f"{path.name}{more}": form(text)
         for path, text in zip(MANIFESTS, MANIFEST_TEXTS, strict=True)
         for more, form in (("", str), (" with its options", with_options))}  # fmt: skip


def problems(value, kind, where):
    """Say what in a manifest no API server would take: unknown keys, missing ones, values of another type."""
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [p for i, item in enumerate(value) for p in problems(item, kind[1:-1], f"{where}[{i}]")]
    if kind.startswith("{"):
        if not isinstance(value, dict):
            return [f"{where} is no map"]
        return [p for key, item in value.items() for p in problems(item, kind[1:-1], f"{where}.{key}")]
    if "|" in kind:
        return [] if value in kind.split("|") else [f"{where} is {value!r}, not {kind}"]
    if kind in PLAIN:
        is_right = isinstance(value, PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if is_right else [f"{where} is {value!r}, not {kind}"]
    if kind not in TYPES:
        return [f"{where}: {kind} is not in the table"]
    fields = TYPES[kind]
    found = [f"{where}.{key} is missing" for key in TABLE["required"].get(kind, []) if key not in value]
    for key, item in value.items():
        inside = f"{where}.{key}"
        found += problems(item, fields[key], inside) if key in fields else [f"{inside} is unknown"]
    return found


def pods(manifest):
    """Return the pod templates of a manifest, by what they are for."""
    spec = manifest["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    found = {"head": cluster["headGroupSpec"]["template"]}
    found |= {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return found | ({"submitter": spec["submitterPodTemplate"]} if "submitterPodTemplate" in spec else {})


def manifest(name, form=str):
    return yaml.safe_load(form((FOLDER / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", TEXTS)
def test_manifest_has_no_field_that_an_api_server_would_refuse(name):
    read = yaml.safe_load(TEXTS[name])
    assert read["apiVersion"] == ("v1" if read["kind"] == "ConfigMap" else "ray.io/v1")
    assert problems(read, read["kind"], read["kind"]) == []


def test_field_check_can_fail():
    text = (FOLDER / "rayjob.yaml").read_text(encoding="utf-8")
    mistakes = {
        "  backoffLimit: 4": "  backOffLimit: 4",
        'num-cpus: "0"': "num-cpus: 0",
        "mode: token": "mode: password",
        "minReplicas: 2": 'minReplicas: "2"',
        "- groupName: trainers": "- name: trainers",
        "allowPrivilegeEscalation: false": "allowPrivilegeEscalation: 0",
        "entrypoint: bash /opt/sweeper/run.sh": "entrypoint: [bash, /opt/sweeper/run.sh]",
    }
    for right, wrong in mistakes.items():
        changed = text.replace(right, wrong)
        assert changed != text, right
        key = wrong.strip("- ").split(":")[0]
        found = problems(yaml.safe_load(changed), "RayJob", "RayJob")
        assert found, wrong
        assert key in " ".join(found)


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_pods_have_limits_and_no_privileges_and_open_nothing(name):
    read = manifest(name, with_options)
    spec = read["spec"].get("rayClusterSpec", read["spec"])
    head = spec["headGroupSpec"]
    assert (head["serviceType"], head["enableIngress"], spec["authOptions"]) == ("ClusterIP", False, {"mode": "token"})
    assert head["rayStartParams"]["num-cpus"] == "0"
    containers = [container for pod in pods(read).values() for container in pod["spec"]["containers"]]
    for one in [*containers, spec["autoscalerOptions"]]:
        assert one["resources"]["requests"] == one["resources"]["limits"]
        assert one["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert all(pod["spec"]["securityContext"]["runAsNonRoot"] for pod in pods(read).values())
    assert len({container["image"] for container in containers}) == 1
    [group] = spec["workerGroupSpecs"]
    assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]  # a sweep needs a CPU to start
    assert spec["enableInTreeAutoscaling"]


def test_retried_job_makes_a_new_cluster_and_cleans_up():
    spec = manifest("rayjob.yaml")["spec"]
    assert spec["backoffLimit"] >= 1
    assert (spec["shutdownAfterJobFinishes"], spec["ttlSecondsAfterFinished"] > 0) == (True, True)
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["terminationGracePeriodSeconds"] > 60
    words = [*spec["entrypoint"].split(), *head["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]]
    scripts = [word for word in words if word.startswith("/opt/sweeper/")]
    copied = re.search(r"^COPY (.*) /opt/sweeper/$", (FOLDER / "Dockerfile").read_text(), re.M)[1].split()
    assert sorted(copied) == sorted(f"cluster/kuberay/{script.rpartition('/')[2]}" for script in scripts)
    assert set(re.findall(r"[$;|&<>`'\"]", spec["entrypoint"])) == set()  # KubeRay pastes it into a shell


def references(value):
    """Return the kinds and names of everything that a manifest refers to."""
    kinds = {
        "secretRef": ("secret", "name"),
        "secretKeyRef": ("secret", "name"),
        "configMapRef": ("configmap", "name"),
        "configMap": ("configmap", "name"),
        "secret": ("secret", "secretName"),
        "persistentVolumeClaim": ("persistentvolumeclaim", "claimName"),
    }
    if isinstance(value, list):
        return {found for item in value for found in references(item)}
    if not isinstance(value, dict):
        return set()
    found = {(kinds[key][0], item[kinds[key][1]]) for key, item in value.items() if key in kinds}
    return found | {more for item in value.values() for more in references(item)}


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_what_a_manifest_refers_to_is_made_here_or_by_a_command_of_the_readme(name):
    here = {(read["kind"].lower(), read["metadata"]["name"]) for read in map(yaml.safe_load, MANIFEST_TEXTS)}
    made = set(re.findall(r"^    kubectl create (secret|configmap) (?:generic )?([\w-]+) --from-", README, re.M))
    wanted = references(manifest(name, with_options))
    assert {one for one in wanted if not PLACEHOLDER.match(one[1])} <= here | made
    assert len(wanted) >= 3
    for pod in pods(manifest(name, with_options)).values():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        mounts = {m["name"] for container in pod["spec"]["containers"] for m in container.get("volumeMounts", [])}
        assert mounts == volumes


def test_script_finds_the_spec_where_the_manifest_mounts_it():
    head = pods(manifest("rayjob.yaml"))["head"]["spec"]
    place = head["containers"][0]["volumeMounts"][0]["mountPath"]
    assert f"{place}/space.yaml}}" in (FOLDER / "run.sh").read_text(encoding="utf-8")
    assert "create configmap sweeper-space --from-file=space.yaml=" in README


def test_no_secret_stands_in_a_file_and_workers_are_not_given_the_ledgers_password():
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "kind: Secret" not in text
        assert re.findall(r"(?i)://[^/@\s]*:[^/@\s]*@", text) == []
        assert (
            re.findall(r"(?i)(?:password|token|secret\w*|key_id|access_key)[\"']?\s*[:=]\s*[\"']?[\w/+-]{8,}", text)
            == []
        )
    for name in ("rayjob.yaml", "raycluster.yaml"):
        workers = pods(manifest(name))["trainers"]
        assert ("secret", "sweeper-driver") not in references(workers)


def test_settings_are_those_that_the_command_line_reads():
    read = {str(parameter.envvar) for parameter in COMMANDS["run"].params if parameter.envvar}
    assert set(manifest("settings.yaml")["data"]) <= read


def test_placeholders_are_named_in_the_readme():
    table = README[: README.index("Optional lines")]
    wanted = {found for text in MANIFEST_TEXTS for found in PLACEHOLDER.findall(text)}
    assert {found for found in wanted if f"| `{found}`" not in table and f", `{found}`" not in table} == set()


def test_versions_of_the_manifests_are_those_of_the_image():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert '-c constraints.txt ".[cluster,postgres]"' in dockerfile
    for name in ("rayjob.yaml", "raycluster.yaml"):
        spec = manifest(name)["spec"]
        assert spec.get("rayClusterSpec", spec)["rayVersion"] == pinned["ray"]


def test_dockerfile_copies_what_is_there_and_not_ignored():
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (.*)$", (FOLDER / "Dockerfile").read_text(), re.M):
        for source in (word.removeprefix("./") for word in line.split()[:-1]):
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored


@pytest.mark.parametrize("words", commands_in(README + (FOLDER / "run.sh").read_text()), ids=" ".join)
def test_sweeper_commands_are_understood(words):
    assert_understood(words)


#: Stands for the driver: says what it was given, and ends as `sweeper run` does when it is asked to.
STAND_IN = """#!{python}
import os, signal, sys, time
def end(*_):
    print("ended in order", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print(" ".join(sys.argv[1:]), flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def pod(tmp_path):
    """The environment of a head's pod, with a stand-in for the driver."""
    program = tmp_path / "bin" / "sweeper"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    settings = manifest("settings.yaml")["data"]
    path = f"{program.parent}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(tmp_path), "SWEEP_PID_FILE": str(tmp_path / "pid"), "SWEEP_NAME": "first"}
    return settings | own


def test_stop_script_ends_the_driver_that_the_entry_point_started_and_waits_for_it(pod):
    driver = subprocess.Popen(["bash", FOLDER / "run.sh"], env=pod, stdout=subprocess.PIPE, text=True)
    try:
        words = driver.stdout.readline().split()
        assert words[:4] == ["run", "/etc/sweeper/space.yaml", "--name", "first"]
        subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)
        assert (driver.wait(timeout=10), driver.stdout.read()) == (143, "ended in order\n")
    finally:
        driver.kill()
        driver.communicate()


def test_stop_script_leaves_alone_what_is_no_driver(pod, tmp_path):
    subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)  # none was started
    other = subprocess.Popen(["sleep", "infinity"])
    try:
        (tmp_path / "pid").write_text(str(other.pid))
        eventually(lambda: "sleep" in (ROOT / f"/proc/{other.pid}/cmdline").read_text())
        subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()


@pytest.mark.parametrize("missing", ["SWEEP_NAME", "SWEEPER_LEDGER", "SWEEPER_STORAGE"])
def test_entry_point_without_a_setting_says_which(pod, missing):
    del pod[missing]
    done = subprocess.run(["bash", FOLDER / "run.sh"], env=pod, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{missing}: " in done.stderr


@contextmanager
def head(environment):
    """Run a Ray head as KubeRay's command line does, on the loopback, with CPUs of its own in place of workers."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    how = ["--port=0", "--num-cpus=2", "--include-dashboard=false", "--object-store-memory=104857600"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="r-") as folder:  # a short path: Ray puts sockets into it
        own = environment | {"RAY_TMPDIR": folder, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
        process = subprocess.Popen([*ray, *how], env=own, start_new_session=True, **silent)
        try:
            eventually(lambda: Path(folder, "ray/ray_current_cluster").exists(), process)
            yield own
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


@takes_on
@pytest.mark.slow
@pytest.mark.rare
def test_sweep_goes_on_in_a_new_pod_on_a_new_cluster_after_the_first_was_drained(postgres, s3, tmp_path):
    url = postgres.new_database()
    database = url.rpartition("/")[2]
    (tmp_path / "space.yaml").write_text(HALF)
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SWEEPER_", "MLFLOW_"))}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = mine | {
        "PATH": programs,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # then Ray keeps to the loopback
        "SWEEP_NAME": "first",
        "SWEEP_PID_FILE": str(tmp_path / "pid"),
        "SWEEP_SPACE": str(tmp_path / "space.yaml"),
        "SWEEPER_LEDGER": postgres.url(database, password=""),
        "PGPASSWORD": postgres.password,
        "SWEEPER_STORAGE": s3,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }

    def pod(number, environment):
        (tmp_path / number).mkdir()
        own = environment | {"HOME": str(tmp_path / number)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return own, subprocess.Popen(["bash", FOLDER / "run.sh"], env=own, cwd=tmp_path / number, **pipes)

    def finished():
        counted = "select count(*) from trials where state not in ('WAITING', 'RUNNING')"
        is_there = postgres.execute("select to_regclass('trials') is not null", database)[0][0]
        return postgres.execute(counted, database)[0][0] if is_there else 0

    with head(settings) as environment:
        own, driver = pod("one", environment)
        eventually(finished, driver)
        subprocess.run(["bash", FOLDER / "stop.sh"], env=own, check=True, timeout=PATIENCE_S)
        out, _ = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 143, out
        assert 0 < finished() < 4
    with head(settings) as environment:
        own, driver = pod("two", environment)
        out, _ = driver.communicate(timeout=PATIENCE_S)
        assert (driver.returncode, "4 trials: 4 complete" in out) == (0, True), out
        assert postgres.password not in out
    words = [sys.executable, "-m", "sweeper", "audit", "first", "--home", str(tmp_path / "two/sweeps")]
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, "9 of 9 promises hold" in done.stdout) == (0, True), done.stdout + done.stderr
