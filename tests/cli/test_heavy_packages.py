"""Heavy packages that each command loads, which its user waits for; each command runs in its own interpreter."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from sweeper.tracking.trackers import reader_of
from sweeper.training.train import train_population
from sweeper.upkeep.archives import archive
from tests.model.test_stimuli import drawn, written

#: Packages that take a large part of a second or more to load.
HEAVY = (
    "torch",
    "mlflow",
    "ray",
    "optuna",
    "alembic",
    "sqlalchemy",
    "sklearn",
    "scipy",
    "matplotlib",
    "plotly",
    "kaleido",
)

CODE = f"""
import sys
from sweeper.__main__ import main
try:
    main()
except SystemExit as ended:
    print(ended.code or 0, *[name for name in {HEAVY} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_database):
    """A home with a sweep that was trained and mirrored."""
    home = tmp_path_factory.mktemp("heavy")
    shutil.copy(empty_database, home / "mlflow.db")
    Sweep("smoke", home).run(load_spec("smoke"), executor=InlineExecutor(), work=train_population)
    return home


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "loaded"),
    [
        ("init mine.yaml", ""),
        ("validate smoke", ""),
        ("list", ""),
        ("status smoke --home ARCHIVE", ""),
        ("pareto smoke --home ARCHIVE", ""),
        ("show KEY --home ARCHIVE", ""),
        ("list --json --tracking-uri URI", ""),
        ("status smoke", ""),
        ("pareto smoke", ""),
        ("trials smoke", ""),
        ("watch smoke --once", ""),
        ("plot smoke", ""),
        ("plot smoke networks --task TASK -o networks.html", "plotly kaleido"),
        ("plot smoke slices --task TASK -o slices.html", "plotly kaleido"),
        ("plot smoke importance --task TASK -o importance.html", "optuna sklearn scipy plotly kaleido"),
        ("report smoke --no-log", "optuna sklearn scipy plotly"),
        ("findings smoke", ""),
        ("findings asked --tracking-uri ASKED --home nowhere", "scipy"),
        ("show KEY", ""),
        ("show KEY --sweep smoke --tracking-uri URI --home nowhere", ""),
        ("show KEY -o network.svg", "matplotlib"),
        ("show KEY --lesion lateral", "torch"),
        ("steps KEY IMAGES", "torch"),
        ("steps KEY IMAGES -o answers.parquet", "torch"),
        ("steps KEY IMAGES --sweep smoke --tracking-uri URI --home nowhere", "torch"),
        ("export KEY -o network.safetensors", ""),
        ("export KEY --sweep smoke --tracking-uri URI --home nowhere -o network.safetensors", ""),
    ],
)
def test_command_loads_no_other_heavy_package(home, asked, tmp_path, command, loaded):
    uri = Home(home).tracking_uri
    reader = reader_of(uri, "smoke")
    written(tmp_path / "images.parquet", drawn(2, 8, 8))
    meant = {
        "URI": uri,
        "ASKED": asked,
        "KEY": reader.networks().keys[0],
        "TASK": reader.fronts()[0].task,
        "IMAGES": "images.parquet",
        "ARCHIVE": "smoke.zip",
    }
    if "ARCHIVE" in command:
        archive(Home(home), "smoke", tmp_path / "smoke.zip")
    words = [meant.get(word, word) for word in command.split()]
    at_home = [] if "--home" in words or words[0] in ("init", "validate") else ["--home", str(home)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words, *at_home], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == f"0 {loaded}".strip(), done.stdout + done.stderr


@pytest.mark.slow
def test_page_that_is_served_loads_what_its_report_loads(home):
    """It does not load MLflow, which is served by another process."""
    words = ["ui", "smoke", "--home", str(home), "--no-mlflow"]
    with subprocess.Popen([sys.executable, "-c", CODE, *words], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        assert urlopen(address, timeout=120).status == 200
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert said.splitlines()[-1] == "130 optuna sklearn scipy plotly"
