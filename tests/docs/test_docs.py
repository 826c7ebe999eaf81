"""Tests of the documents: links resolve, examples run, each command has its place, and every named path exists."""

from __future__ import annotations

import ast
import inspect
import io
import re
import shlex
import shutil
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import typer
import yaml

import sweeper
from docs.site import links_of
from sweeper import model
from sweeper.cli.run import app
from sweeper.spec import load_spec, shipped_spaces

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "build"} & set(path.relative_to(ROOT).parts))
PAGES = sorted(DOCS.rglob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}


def blocks(text, language):
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def anchors(text):
    """Return the anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


# Links


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_to_files_that_exist(path):
    missing = [link for link in links_of(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert missing == []


def test_link_check_can_fail(tmp_path):
    (tmp_path / "a.md").write_text("[gone](nowhere.md)")
    with pytest.raises(AssertionError):
        test_links_of_a_document_lead_to_files_that_exist(tmp_path / "a.md")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_a_heading_lead_to_one_that_exists(path):
    for link, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        page = path.parent / link if link else path
        assert anchor in anchors(page.read_text(encoding="utf-8")), f"{link}#{anchor}"


def test_every_page_has_one_place_in_the_contents():
    def pages_of(entry):
        if isinstance(entry, str):
            return [entry]
        return (
            [page for one in entry.values() for page in pages_of(one)] if isinstance(entry, dict) else contents(entry)
        )

    def contents(entries):
        return [page for entry in entries for page in pages_of(entry)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(contents(nav)) == [str(path.relative_to(DOCS)) for path in PAGES]


# Names


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_of_this_repository_that_a_document_names_exists(name):
    named = re.findall(r"`((?:sweeper|model|tests|benchmarks|docs|cluster|search_spaces)/[\w./-]*)`", TEXTS[name])
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_whoever_installs_it_is_told_the_name_of_the_distribution(name):
    assert re.findall(r"pip install\b[^\n`]*?['\" ]sweeper(?=[\[`'\" \n])", TEXTS[name]) == []


#: Words that a newcomer looks for first.
WORDS = (
    "config schema dataset task plot executor backend scheduler halving sampler pruner lock provenance progress "
    "resources pareto hypervolume tracking logging export serialize"
)


@pytest.mark.parametrize("word", WORDS.split())
def test_table_of_contributing_leads_from_a_word_to_files(word):
    rows = [line.split("|")[1:3] for line in CONTRIBUTING.splitlines() if line.startswith("| ")]
    places = [place for subject, place in rows if re.search(rf"\b{word}", subject, re.IGNORECASE)]
    assert any("`" in place for place in places)


# Commands


def commands_in(text):
    """Return the words of every sweeper command in a shell block or on an indented line."""
    shell = "".join(blocks(text, "sh")).splitlines()
    lines = shell + [line.strip() for line in text.splitlines() if line.startswith("    sweeper ")]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("sweeper ")]


FOUND = [words for name, text in TEXTS.items() if name != "CHANGELOG.md" for words in commands_in(text)]


@pytest.mark.parametrize("words", FOUND, ids=" ".join)
def test_command_lines_of_the_documents_are_understood(words):
    command, *rest = words
    assert COMMANDS[command].make_context(command, rest).params  # parses every option, runs nothing


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_some_page_shows_how_a_command_is_used(command):
    shown = [words[0] for path in (DOCS / "how-to").glob("*.md") for words in commands_in(path.read_text())]
    assert command in shown


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_every_option_stands_in_the_reference(command):
    reference = TEXTS["docs/reference/commands.md"]
    section = reference.split(f"\n## sweeper {command}\n")[1].split("\n## ")[0]
    options = [name for option in COMMANDS[command].params for name in option.opts if name.startswith("-")]
    assert [name for name in options if not re.search(rf"{re.escape(name)}[ ,`]", section)] == []


def test_every_variable_that_the_program_reads_or_sets_is_explained():
    sources = "".join(path.read_text() for path in (ROOT / "sweeper").rglob("*.py"))
    named = set(re.findall(r"[\"']((?:SWEEPER|RAY|MLFLOW|TUNE)_[A-Z_]+)[\"'=]", sources))
    internal = {"RAY_JOB_CONFIG_JSON_ENV_VAR", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}  # Ray's own; in a command we print
    page = TEXTS["docs/reference/environment.md"]
    assert "SWEEPER_HOME" in named
    assert [name for name in sorted(named - internal) if name not in page] == []


# Specs

SPECS = [(name, block) for name in TEXTS for block in blocks(TEXTS[name], "yaml") if "\nprogram:" not in block]  # W&B's
WHOLE = yaml.safe_load(blocks(TEXTS["docs/how-to/search.md"], "yaml")[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "block"), SPECS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SPECS)])
def test_yaml_of_the_documents_loads(tmp_path, name, block):
    written = yaml.safe_load(block)
    for example in (DOCS / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    if "objectives" not in written:  # only a part of a spec: the page about searching has the rest
        written = WHOLE | written
        if "classes" in written.get("task", {}):
            del (written := {**written, "parameters": dict(written["parameters"])})["parameters"]["classes"]
    (tmp_path / "my.yaml").write_text(block if "objectives" in block else yaml.safe_dump(written))
    assert load_spec(tmp_path / "my.yaml", is_elsewhere=True).spec.planned > 0


def test_specs_of_the_how_tos_hold_what_their_pages_say(tmp_path):
    found = []
    for page in ("write-a-sweep", "search"):
        (tmp_path / "my.yaml").write_text(blocks(TEXTS[f"docs/how-to/{page}.md"], "yaml")[0])
        found.append(load_spec(tmp_path / "my.yaml").spec)
    grid, search = found
    assert (len(grid.settings()), grid.tasks[0]) == (27, "digits-10-noise0.1")
    assert (search.planned, len(search.searched)) == (2 * 40 * 2, 4)


def test_every_shipped_space_loads():
    assert "quickstart" in shipped_spaces()
    for name in shipped_spaces():
        assert load_spec(name, is_elsewhere=True).spec.settings()


# Python


@pytest.mark.parametrize("name", TEXTS)
def test_python_of_the_documents_can_be_read(name):
    for block in blocks(TEXTS[name], "py(?:thon)?"):
        ast.parse(block)


@pytest.mark.parametrize("name", TEXTS)
def test_python_of_the_documents_calls_what_the_package_offers(name):
    for block in blocks(TEXTS[name], "py(?:thon)?"):
        for call in [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]:
            if re.fullmatch(r"sweeper\.\w+", ast.unparse(call.func)):
                offered = getattr(sweeper, ast.unparse(call.func).removeprefix("sweeper."))
                keywords = {str(given.arg): given.value for given in call.keywords}
                inspect.signature(offered).bind(*call.args, **keywords)  # raises TypeError if they do not fit


def run_without_training(spec, name=None, home="sweeps"):
    """Run a sweep as `sweeper.run` does, but without training: every network has an accuracy of 0.95."""
    from sweeper.driver.sweep import Sweep
    from sweeper.execution.executors import InlineExecutor
    from sweeper.tracking.mlflow.recorder import MlflowRecorder
    from sweeper.trial import Ended, Outcome

    def work(job, report):
        measured = {"accuracy": 0.95, "breadth": 2.0, "depth": 1.0, "time": 1.5}
        return [Ended(Outcome.COMPLETE, "", measured) for _ in job.wanted_keys]

    loaded = load_spec(spec, name=name)
    sweep = Sweep(loaded.spec.name, home)
    recorder = MlflowRecorder(sweep.tracking_uri)
    return sweep.run(loaded, executor=InlineExecutor(), work=work, recorder=recorder)


@pytest.mark.slow
def test_readme_runs_from_its_yaml_to_its_front(empty_database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sweeps").mkdir()
    shutil.copy(empty_database, "sweeps/mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("SWEEPER_HOME", raising=False)
    monkeypatch.setattr(sweeper, "run", run_without_training)
    (spec, _), (code,) = blocks(README, "yaml"), blocks(README, "python")
    Path("first.yaml").write_text(spec)
    printed = []
    exec(compile(code, "README.md", "exec"), {"print": printed.append})
    assert list(printed[0]["accuracy"]) == [0.95] * 3


def test_python_of_the_page_about_networks_uses_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    window = model.Window((2,), 3, (1, 16, 16), 4)
    model.save(model.Lattice(window, [0]), {"setting": "s", "measurement": "m"}, "network.safetensors")
    _, write = blocks(TEXTS["docs/how-to/own-data.md"], "python")
    exec(compile(write, "own-data.md", "exec"), {})
    Path("cells.parquet").rename("stimuli.parquet")
    use, lesion, steps = blocks(TEXTS["docs/how-to/networks.md"], "python")
    printed = []
    given = {"images": torch.rand(4, 1, 16, 16), "print": lambda *values: printed.append(values)}
    for code in (use, lesion, steps):
        exec(compile(code, "networks.md", "exec"), given)
    (choice, took), described, (took_without, parts), (by_step,) = printed
    assert (choice.shape, took.shape, described) == ((4,), (4,), ("s", "m"))
    assert (took_without.shape, parts) == ((4,), "lateral,top-down")
    assert [row["step"] for row in by_step] == [1, 2, 3]
    assert all(0 <= row["step_right_mean"] <= 1 for row in by_step)


def test_python_of_the_page_about_data_writes_a_file_that_can_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, code = blocks(TEXTS["docs/how-to/own-data.md"], "python")
    exec(compile(code, "own-data.md", "exec"), {})
    assert pq.read_table("cells.parquet").num_rows == 100
    task = model.load_task(model.TaskDefinition("cells.parquet"))
    assert (task.image, task.classes, len(task.train) + len(task.validation) + len(task.test)) == ((1, 16, 16), 4, 100)


def test_front_of_the_tutorial_is_that_of_the_front_page():
    (shown,) = [block for block in blocks(README, "text") if "non-dominated" in block]
    assert shown in TEXTS["docs/tutorial.md"]


# Scripts


def test_shell_scripts_of_the_recipes_parse():
    scripts = sorted((ROOT / "cluster").rglob("*.sh"))
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)


def test_generated_parts_are_checked_by_a_command_too():
    from docs import generate

    with redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["generate", "--check"])
        with pytest.raises(SystemExit) as left:
            generate.main()
    assert left.value.code == 0
