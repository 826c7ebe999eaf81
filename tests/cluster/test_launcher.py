"""The cluster launcher's files, read and completed by Ray itself, and their commands in a real shell."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml

from tests.cluster.recipes import CLUSTER, PLACEHOLDER, assert_understood, commands_in

FOLDER = CLUSTER / "launcher"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = sorted(FOLDER.glob("*.yaml"))
NAMES = [path.name for path in FILES]


def config(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def prepared(read):
    """Complete and check a configuration as `ray up` does before it asks a provider."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    complete = prepare_config(read)
    validate_config(complete)
    return complete


@pytest.mark.parametrize("name", NAMES)
def test_file_is_one_that_ray_accepts_and_every_key_is_known(name):
    complete = prepared(config(name))
    assert complete["cluster_name"] == "sweeper"
    assert set(config(name)) <= set(complete)


def test_check_of_a_file_can_fail():
    from jsonschema import ValidationError

    for wrong in ({"head_nodes": {}}, {"idle_timeout_minutes": "ten"}, {"auth": {"user": "ubuntu"}}):
        with pytest.raises(
            ValidationError, match=next(iter({"head_nodes", "ten", "user"} & set(re.findall(r"\w+", str(wrong)))))
        ):
            prepared(config("aws.yaml") | wrong)


def test_workers_on_aws_are_spot_instances_that_a_sweep_finds_when_it_starts():
    complete = prepared(config("aws.yaml"))
    types = complete["available_node_types"]
    head, worker = types.pop(complete["head_node_type"]), types.popitem()[1]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert (head["resources"], head["max_workers"]) == ({"CPU": 0}, 0)
    assert 1 <= worker["min_workers"] <= worker["max_workers"] <= complete["max_workers"]


def test_own_machines_are_all_used_by_a_user_of_their_own():
    read = config("local.yaml")
    complete = prepared(read)
    [machines] = complete["available_node_types"].values()
    count = len(set(read["provider"]["worker_ips"]))
    assert (machines["min_workers"], machines["max_workers"], complete["max_workers"]) == (count, count, count)
    assert PLACEHOLDER.fullmatch(read["auth"]["ssh_user"])


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """A stand-in for AWS with the resources that the README tells users to make; yields the filled file and clients."""
    moto = pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes the ssh key there
    with moto.mock_aws():
        region = "eu-central-1"
        ec2, iam = boto3.client("ec2", region), boto3.client("iam", region)
        network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName="sweeper", Description="sweeper", VpcId=network)["GroupId"]
        text = (FOLDER / "aws.yaml").read_text(encoding="utf-8")
        filled = {"CHANGE-ME-REGION": region, "CHANGE-ME-GROUP": group}
        filled["CHANGE-ME-IMAGE"] = ec2.describe_images()["Images"][0]["ImageId"]
        for role in ("HEAD", "WORKER"):
            profile = iam.create_instance_profile(InstanceProfileName=role)["InstanceProfile"]
            filled[f"CHANGE-ME-{role}-PROFILE"] = profile["Arn"]
        yield yaml.safe_load(PLACEHOLDER.sub(lambda found: filled[found[0]], text)), ec2, iam


@pytest.mark.slow  # the stand-in takes seconds to load
def test_on_aws_ray_makes_no_open_group_and_no_role_of_its_own(aws):
    from ray.autoscaler._private.aws.config import bootstrap_aws

    read, ec2, iam = aws
    groups = [group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    complete = bootstrap_aws(prepared(read))
    for node in complete["available_node_types"].values():
        given = node["node_config"]
        assert given["SecurityGroupIds"] == read["available_node_types"]["head"]["node_config"]["SecurityGroupIds"]
        assert given["SubnetIds"]
        assert given["KeyName"]
    assert sorted(group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]) == sorted(groups)
    assert iam.list_roles()["Roles"] == []


@pytest.mark.parametrize("name", NAMES)
def test_dashboard_is_on_the_loopback_and_every_node_asks_for_the_token(name):
    read = config(name)
    [head] = [line for line in read["head_start_ray_commands"] if "ray start" in line]
    [worker] = [line for line in read["worker_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert all("RAY_AUTH_MODE=token" in line for line in (head, worker))
    assert read["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in read["setup_commands"]
    assert "0.0.0.0" not in (FOLDER / name).read_text(encoding="utf-8")


#: Stands in for the `ray` that setup commands install: it prints its environment and arguments.
RAY = '#!/bin/sh\necho "$RAY_AUTH_MODE $RAY_USAGE_STATS_ENABLED $(command -v sweeper) $*"\n'


@pytest.fixture
def machine(tmp_path):
    """A machine after the setup commands: its home, and a function that runs a command there."""
    programs = tmp_path / "sweeper/venv/bin"
    programs.mkdir(parents=True)
    for program in ("ray", "sweeper", "python"):
        (programs / program).write_text(RAY)
        (programs / program).chmod(0o755)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("token")

    def run(command):
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "RAY_HEAD_IP": "10.0.0.1"}
        words = ["bash", "-c", command]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
        return done.stdout

    return tmp_path, run


@pytest.mark.parametrize("name", NAMES)
def test_start_commands_do_in_a_shell_what_they_say(name, machine):
    home, run = machine
    read, found = config(name), f"{machine[0]}/sweeper/venv/bin/sweeper"
    head, worker = (run(read[f"{role}_start_ray_commands"][1]).split() for role in ("head", "worker"))
    assert [head[:2], worker[:2]] == [["token", "0"]] * 2
    assert [head[2:5], worker[2:4]] == [[found, "start", "--head"], [found, "start"]]
    cpus = "0" if name == "aws.yaml" else run("echo $(($(nproc) - 1))").strip()
    assert f"--num-cpus={cpus}" in head
    assert f"--autoscaling-config={home}/ray_bootstrap_config.yaml" in head or "~/" in head[-1]
    assert "--address=10.0.0.1:6379" in worker


@pytest.mark.parametrize("name", NAMES)
def test_setup_commands_may_run_again_and_close_the_token(name, machine):
    home, run = machine
    commands = [line for line in config(name)["setup_commands"] if "pip install" not in line]
    assert len(commands) == len(config(name)["setup_commands"]) - 1
    for command in commands * 2:
        run(command)
    assert (home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
    assert (home / ".bashrc").read_text() == 'export RAY_AUTH_MODE=token PATH="$HOME/sweeper/venv/bin:$PATH"\n'


def test_placeholders_are_named_in_the_readme():
    table = README[: README.index("Before the first start")]
    wanted = {found for path in FILES for found in PLACEHOLDER.findall(path.read_text(encoding="utf-8"))}
    assert {found for found in wanted if f"`{found}`" not in table} == set()
    assert len(wanted) == 10


def test_no_secret_stands_in_a_file():
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?i)(?:password|secret\w*|key_id|access_key)[\"']?\s*[:=]\s*[\"']?[\w/+-]{8,}", text) == []
        assert re.findall(r"://[^/@\s]*:[^/@\s]*@", text) == []


@pytest.mark.parametrize("words", commands_in(README), ids=lambda words: " ".join(words[:3]))
def test_sweeper_commands_are_understood(words):
    assert_understood(words)


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments")  # from Ray's import
@pytest.mark.parametrize("line", re.findall(r"^    (ray .*)$", README, re.M))
def test_ray_commands_of_the_readme_are_understood(line):
    from ray.scripts.scripts import cli

    command, *rest = line.removesuffix(" &").replace("'", "").split()[1:]
    assert cli.commands[command].make_context(command, rest).params
