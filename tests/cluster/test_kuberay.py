"""The manifests for KubeRay: API servers know every field, and everything that a manifest refers to exists."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.cluster.recipes import (
    CLUSTER,
    COMMANDS,
    PLACEHOLDER,
    ROOT,
    assert_understood,
    commands_in,
    with_options,
)

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
    """Return what an API server would refuse in a manifest: unknown keys, missing keys, values of another type."""
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
    """Return the pod templates of a manifest by purpose: head, a group of workers, or submitter."""
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
    copied = re.search(r"^COPY (.*) /opt/sweeper/$", (ROOT / "cluster" / "docker" / "Dockerfile").read_text(), re.M)[
        1
    ].split()
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
    for name in ("rayjob.yaml", "raycluster.yaml"):
        spec = manifest(name)["spec"]
        assert spec.get("rayClusterSpec", spec)["rayVersion"] == pinned["ray"]


@pytest.mark.parametrize("words", commands_in(README + (FOLDER / "run.sh").read_text()), ids=" ".join)
def test_sweeper_commands_are_understood(words):
    assert_understood(words)
