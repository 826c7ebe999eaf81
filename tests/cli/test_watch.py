"""A sweep that another process watches: real MLflow databases, real drivers, and the command in its own process."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from sweeper.cli import run as cli
from sweeper.cli.live import LINES_EVERY_S, Lines
from sweeper.driver import mirror
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError, TrackingError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.job import Progress
from sweeper.results.watcher import Watcher
from sweeper.spec import load_spec
from sweeper.tracking.live import STALE_AFTER_S, LiveState, Note, Stage, TaskState, View
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.trial import Ended, Outcome
from tests.contracts.recorder import FACTS
from tests.driver.test_progress import Clock

#: Control characters, except line ends: a terminal obeys them instead of showing them, and a file should hold none.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

NASTY = "\x1b[31ma checkpoint was torn\x1b[0m\r\n"


class ThreadedSweep:
    """The smoke sweep, driven by a thread that waits in its second population for `go_on`."""

    def __init__(self, home, database):
        self.home = home
        home.mkdir()
        shutil.copy(database, home / "mlflow.db")
        self._go_on, self._begun, self.stops = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._drive, daemon=True)

    @property
    def uri(self):
        return f"sqlite:///{self.home}/mlflow.db"

    def _drive(self):
        self.summary = Sweep("smoke", self.home).run(
            load_spec("smoke"), executor=InlineExecutor(), workers=4, work=self._work, should_stop=lambda: self.stops
        )

    def _work(self, job, report):
        report(Progress(1, 3, [{"accuracy": 0.25}] * len(job.wanted_keys), (NASTY,)))
        if self._begun.is_set():
            assert self._go_on.wait(120)
        self._begun.set()
        values = {"accuracy": 0.5, "breadth": 1.0, "depth": 1.0, "time": 2.0}
        return [Ended(Outcome.COMPLETE, "", values) for _ in job.wanted_keys]

    def start(self):
        """Begin, and wait until MLflow knows that the second population runs."""
        self._thread.start()
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(QueryError, UnknownSweepError):
                if (total := MlflowReader(self.uri, "smoke").live().total).ended and total.running:
                    return
            time.sleep(0.2)
        raise AssertionError("the driver never said that it trains")

    def go_on(self):
        self._go_on.set()

    def stop(self):
        self.stops = True
        self.end()

    def end(self):
        self.go_on()
        self._thread.join(120)
        assert not self._thread.is_alive()


def files_of(home):
    """Return names of a home's files; SQLite's own files beside a database come and go, and are left out."""
    return sorted(path.name for path in home.iterdir() if not path.name.endswith(("-wal", "-shm")))


@pytest.fixture
def driven(tmp_path, empty_database, monkeypatch):
    monkeypatch.setattr(mirror, "WRITTEN_EVERY_S", 0.2)  # keeps the tests quick
    sweep = ThreadedSweep(tmp_path / "sweeps", empty_database)
    sweep.start()
    yield sweep
    sweep.end()


@pytest.fixture
def sweeper(monkeypatch, capsys):
    """The command line in this process: returns its exit code and outputs."""
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def environment(**more):
    names = ("SWEEPER_HOME", "MLFLOW_TRACKING_URI", "NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if name not in names} | more


def watch_words(home, *more):
    return [sys.executable, "-m", "sweeper", "watch", "smoke", "--home", str(home), "--interval", "0.2", *more]


@contextmanager
def watching(home, *more, **names):
    """Yield a process that watches and writes to pipes."""
    with subprocess.Popen(
        watch_words(home, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**names)
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


# --- from its middle to its end ----------------------------------------------------------------------------


@pytest.mark.slow
def test_watching_through_a_pipe_says_the_middle_and_the_end_without_anything_a_terminal_would_obey(driven):
    with watching(driven.home, FORCE_COLOR="1", TERM="xterm-256color") as process:
        note, first = process.stdout.readline(), process.stdout.readline()
        driven.go_on()
        rest, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert not CONTROL.search(note + first + rest)
    assert note == "note: a checkpoint was torn\n"
    done, planned, running = map(int, re.match(r"(\d+)/(\d+) trials done, (\d+) running, 0 failed · ", first).groups())
    assert (planned, running) == (8, 8 - done if done > 4 else running)
    assert 0 < done < 8
    assert " · 1 of 1 workers busy · " in first
    driven.end()
    assert "smoke  8/8 trials done, 0 running, 0 failed\n" in rest
    assert re.search(r"\nfinished \d+ s ago\n$", rest)
    for front in driven.summary.fronts:
        row = rf"^ {front.task} +4/4 +0\.500 +{front.hypervolume:.4g} +{front.table.num_rows} *$"
        assert re.search(row, rest, re.MULTILINE), rest


@pytest.mark.slow
def test_watching_as_json_writes_a_line_for_every_state_up_to_the_last(driven):
    with watching(driven.home, "--json") as process:
        first = json.loads(process.stdout.readline())
        driven.go_on()
        rest, err = process.communicate(timeout=120)
    states = [first, *map(json.loads, rest.splitlines())]
    assert (process.returncode, err) == (0, "")
    assert [state["stage"] for state in states[:1] + states[-1:]] == ["running", "finished"]
    assert first["total"]["planned"] == 8
    assert first["total"]["running"] > 0
    assert states[-1]["total"]["complete"] == 8
    assert len({state["written_ms"] for state in states}) == len(states), "nothing is said twice"
    assert all(not state["is_stale"] and state["last_heard_s"] < STALE_AFTER_S for state in states)


@pytest.mark.slow
def test_watched_sweep_that_is_interrupted_ends_the_watching_with_1_and_the_way_on(driven):
    with watching(driven.home) as process:
        process.stdout.readline()
        driven.stop()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (4, "")
    said = re.sub(r"\s+", "", out)
    assert f"continuewith`sweeperresumesmoke--home{driven.home}`" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.rare)]
)
def test_interrupt_leaves_the_watching_in_order_and_the_sweep_alone(driven, number, code):
    with watching(driven.home) as process:
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (code, "")
    driven.end()
    assert driven.summary.is_finished
    assert driven.summary.is_mirrored


@pytest.mark.slow
def test_reader_that_leaves_ends_the_watching_without_a_traceback(driven):
    with watching(driven.home, "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        driven.go_on()
        err = process.stderr.read()
        process.wait(timeout=120)
    assert (process.returncode, err) == (141, "")


# --- on a terminal -----------------------------------------------------------------------------------------


class Terminal:
    """A terminal of 80 columns and 24 lines, and a process that watches in it."""

    def __init__(self, home, **names):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            watch_words(home), stdin=slave, stdout=slave, stderr=slave, env=environment(**names), start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def read_until(self, words, seconds=120):
        until = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < until, self.text
            self._read()

    def _read(self):
        if select.select([self._master], [], [], 1)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # its process has ended
                data = b""
            self.text += data.decode(errors="replace")
            return bool(data)
        return True

    def close(self):
        """Read to the end, and return the exit code."""
        try:
            while self._read():
                pass
            return self._process.wait(timeout=120)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            os.close(self._master)


@pytest.mark.slow
def test_terminal_shows_a_table_that_is_drawn_anew_and_gets_its_cursor_back(driven):
    terminal = Terminal(driven.home, TERM="xterm-256color")
    terminal.read_until("hypervolume")
    driven.go_on()
    assert terminal.close() == 0
    assert terminal.text.index("\x1b[?25l") < terminal.text.rindex("\x1b[?25h")
    assert "note: a checkpoint was torn" in terminal.text
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text)
    assert max(len(line.rstrip("\r")) for line in shown.split("\n") if "\r" not in line.rstrip("\r")) <= 80
    assert "8/8 trials done" in shown
    assert re.search(r"finished \d+ s ago", shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [{"NO_COLOR": "1", "TERM": "xterm-256color"}, pytest.param({"TERM": "dumb"}, marks=pytest.mark.rare)],
    ids=["plain", "dumb"],
)
def test_terminal_whose_user_wants_no_colour_or_that_knows_none_gets_plain_lines(driven, names):
    terminal = Terminal(driven.home, **names)
    terminal.read_until("trials done")
    driven.go_on()
    assert terminal.close() == 0
    assert not CONTROL.search(terminal.text.replace("\r\n", "\n"))
    assert "8/8 trials done" in terminal.text


# --- one look ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_look_at_a_sweep_that_is_driven_says_how_it_stands_and_changes_nothing(driven, sweeper):
    before = files_of(driven.home)
    code, out, err = sweeper("watch", "smoke", "--home", driven.home, "--once", "--json")
    values = json.loads(out)
    assert (code, err, values["stage"], values["sweep"]) == (0, "", "running", "smoke")
    assert (values["total"]["planned"], values["busy"], values["workers"]) == (8, 1, 1)
    assert 0 < values["total"]["complete"] < 8
    code, out, err = sweeper("watch", "smoke", "--home", driven.home, "--once")
    assert (code, err) == (0, "")
    assert f"smoke  {values['total']['complete']}/8 trials done, {values['total']['running']} running" in out
    assert files_of(driven.home) == before


@pytest.fixture(scope="module")
def ended(tmp_path_factory, empty_database):
    """A home with a sweep that has ended."""
    sweep = ThreadedSweep(tmp_path_factory.mktemp("ended") / "sweeps", empty_database)
    sweep.go_on()
    sweep._thread.start()
    sweep.end()
    return sweep


@pytest.mark.parametrize("more", [(), ("--once",)])
def test_sweep_that_has_ended_is_shown_with_its_final_counts_and_hypervolumes(ended, sweeper, more):
    code, out, err = sweeper("watch", "smoke", "--home", ended.home, *more)
    assert (code, err) == (0, "")
    assert not CONTROL.search(out)
    assert "smoke  8/8 trials done, 0 running, 0 failed\n" in out
    for front in MlflowReader(ended.uri, "smoke").fronts():
        assert re.search(rf"{front.task} +4/4 +0\.500 +{front.hypervolume:.4g} +{front.table.num_rows} ", out)


def test_looking_changes_no_byte_of_the_database_and_leaves_nothing_beside_it(ended, sweeper):
    file = ended.home / "mlflow.db"
    before = file.read_bytes(), sorted(path.name for path in ended.home.iterdir())
    sweeper("watch", "smoke", "--home", ended.home)
    assert (file.read_bytes(), sorted(path.name for path in ended.home.iterdir())) == before


def test_mistaken_name_is_refused_with_the_nearest_ones(ended, sweeper):
    code, out, err = sweeper("watch", "smokey", "--home", ended.home)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweeper: there is no sweep 'smokey' in .* \(known: smoke\)\. Did you mean 'smoke'\?\n", err)


def test_home_without_sweeps_is_refused_and_nothing_is_made(tmp_path, sweeper):
    code, out, err = sweeper("watch", "smoke", "--home", tmp_path / "none")
    assert (code, out) == (2, "")
    assert f"there is no MLflow database at {tmp_path / 'none' / 'mlflow.db'}" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "often", "1e9"])
def test_interval_that_is_none_is_refused_by_its_value(sweeper, ended, interval):
    code, out, err = sweeper("watch", "smoke", "--home", ended.home, "--interval", interval)
    assert (code, out) == (2, "")
    assert f"must be 0.1 to 3600 seconds, but got {interval}. Use 5" in " ".join(re.sub("[│╭╮╰╯─]", " ", err).split())


# --- what MLflow holds -------------------------------------------------------------------------------------


@pytest.fixture
def uri(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def opened(uri):
    recorder = MlflowRecorder(uri)
    recorder.open(FACTS)
    return recorder


def a_state(age_s=0.0, **changes):
    rows = (TaskState("digits-10", 8, complete=3, running=4),)
    return replace(LiveState("small", rows, written_ms=int(1000 * (time.time() - age_s))), **changes)


def test_driver_that_was_not_heard_of_for_long_may_be_gone(opened, uri, sweeper):
    opened.record_live(a_state(age_s=180.0))
    code, out, err = sweeper("watch", "small", "--tracking-uri", uri, "--once")
    assert (code, err) == (4, "")
    said = " ".join(out.split())
    assert said.endswith("last heard of 3 min ago: its driver may be gone; continue with `sweeper resume small`")
    opened.record_live(a_state(age_s=30.0))
    code, out, _ = sweeper("watch", "small", "--tracking-uri", uri, "--once")
    assert (code, "last heard" in out) == (0, False)


def test_sweep_that_never_said_how_it_stands_is_refused_with_the_way_out(opened, uri, sweeper):
    code, out, err = sweeper("watch", "small", "--tracking-uri", uri)
    assert (code, out) == (2, "")
    assert err.startswith(f"sweeper: sweep 'small' in {uri} does not say how it stands: ")
    assert "sweeper mirror small" in err


def test_state_that_cannot_be_read_is_refused(opened, uri, sweeper):
    opened._client.set_tag(opened._parent_id, "sweeper.live", '{"format": 99}')
    code, out, err = sweeper("watch", "small", "--tracking-uri", uri)
    assert (code, out) == (2, "")
    assert "format 99" in err


@pytest.mark.slow
def test_mirroring_again_says_how_a_sweep_stands_whose_database_was_lost(tmp_path, empty_database):
    sweep = ThreadedSweep(tmp_path / "sweeps", empty_database)
    sweep.go_on()
    sweep._thread.start()
    sweep.end()
    before = MlflowReader(sweep.uri, "smoke").live()
    shutil.copy(empty_database, sweep.home / "mlflow.db")
    shutil.rmtree(sweep.home / "artifacts")
    with pytest.raises(UnknownSweepError, match="'smoke'"):
        MlflowReader(sweep.uri, "smoke").live()
    assert Sweep("smoke", sweep.home).mirror().is_mirrored
    after = MlflowReader(sweep.uri, "smoke").live()
    assert (after.stage, after.tasks) == (Stage.FINISHED, before.tasks)
    assert before.since_ms <= after.since_ms <= after.written_ms <= before.written_ms, "the times of the ledger"
    assert Sweep("smoke", sweep.home).mirror().is_mirrored
    assert MlflowReader(sweep.uri, "smoke").live() == after


def test_hypervolume_that_the_driver_has_not_computed_anew_is_that_of_the_stored_front(opened, uri):
    from tests.analysis.test_fronts import a_front, a_trial

    front = opened.record_front(a_front(a_trial(0)))
    rows = (TaskState("digits-10", 8, complete=3), TaskState("digits-3", 8, complete=1))
    opened.record_live(a_state(tasks=rows))
    first, second = MlflowReader(uri, "small").live().tasks
    assert (first.hypervolume, first.points) == (front.hypervolume, front.table.num_rows)
    assert (second.hypervolume, second.points) == (None, None)
    opened.record_live(a_state(tasks=(replace(rows[0], hypervolume=99.0, points=1),)))
    assert MlflowReader(uri, "small").live().tasks[0].hypervolume == 99.0, "the driver's own is newer"


def test_whoever_looks_lets_go_of_the_file_so_that_its_driver_makes_a_single_one_of_it(opened, uri, tmp_path):
    opened.record_live(a_state())
    elsewhere = f"sqlite:///{tmp_path}/../{tmp_path.name}/mlflow.db"  # another spelling gets its own connections
    assert MlflowReader(elsewhere, "small").live().sweep == "small"
    opened.close("FINISHED")
    assert (tmp_path / "mlflow.db").read_bytes()[18:20] == b"\x01\x01", "its head says that nothing is written ahead"
    assert not (tmp_path / "mlflow.db-wal").exists()


# --- the watcher -------------------------------------------------------------------------------------------


class Bench:
    """A watcher, the state that it reads, and the clocks of the watcher, the machine and the driver."""

    def __init__(self, ahead_s=0.0):
        self.clock, self._ahead_s, self.is_away = Clock(), ahead_s, False
        self.state = None
        self.watcher = Watcher(self.read, "sweeper resume a", self.clock, lambda: int(1000 * self.clock.now))
        self.say()

    def say(self, stage=Stage.RUNNING):
        """Let the driver write a state, by a clock that is ahead."""
        self.state = LiveState("a", stage=stage, written_ms=int(1000 * (self.clock.now + self._ahead_s)))

    def read(self):
        if self.is_away:
            raise TrackingError("could not read: it is away\nat all")
        return self.state

    def look(self, later_s=0.0):
        self.clock.now += later_s
        return self.watcher.look()


@pytest.mark.parametrize("ahead_s", [-7200.0, -1.0, 0.0, 7200.0])
def test_silence_is_told_whatever_the_clock_of_the_driver_says(ahead_s):
    bench = Bench(ahead_s)
    bench.look()
    for _ in range(20):
        bench.clock.now += 5
        bench.say()
        assert bench.look() == View(bench.state, 0.0, "", "sweeper resume a")
    assert not bench.look(STALE_AFTER_S).is_stale
    view = bench.look(1)
    assert (view.is_stale, view.age_s) == (True, STALE_AFTER_S + 1)
    bench.say()
    assert not bench.look().is_stale, "it is back"


def test_first_look_trusts_the_clocks_and_later_ones_no_clock_that_goes_ahead():
    assert Bench(-180.0).look().age_s == 180
    bench = Bench(3600.0)
    assert bench.look().age_s == 0
    assert bench.look(STALE_AFTER_S + 1).is_stale, "it has said nothing since"


def test_end_is_as_old_as_its_driver_says_and_never_stale():
    bench = Bench()
    bench.look()
    bench.clock.now += 1
    bench.say(Stage.FINISHED)
    bench.look()
    view = bench.look(3600)
    assert (view.age_s, view.is_stale) == (3600, False)


def test_server_that_goes_away_is_said_with_what_was_known_until_it_is_back():
    bench = Bench()
    bench.look()
    bench.is_away = True
    view = bench.look(STALE_AFTER_S + 30)
    assert (view.state, view.age_s, view.trouble) == (
        bench.state, STALE_AFTER_S + 30, "could not read: it is away at all",
    )  # fmt: skip
    assert not view.is_stale, "nobody knows"
    bench.is_away = False
    bench.say()
    assert bench.look() == View(bench.state, 0.0, "", "sweeper resume a")


def test_server_that_is_away_from_the_beginning_is_a_mistake():
    bench = Bench()
    bench.is_away = True
    with pytest.raises(TrackingError, match="it is away"):
        bench.look()


def test_database_that_is_moved_away_and_back_is_lost_and_found_again(opened, uri, tmp_path):
    opened.record_live(a_state())
    watcher = Watcher(lambda: MlflowReader(uri, "small").live())
    first = watcher.look()
    assert not first.trouble
    (tmp_path / "mlflow.db").rename(tmp_path / "away.db")
    view = watcher.look()
    assert (view.state, f"no MLflow database at {tmp_path / 'mlflow.db'}" in view.trouble) == (first.state, True)
    (tmp_path / "away.db").rename(tmp_path / "mlflow.db")
    assert watcher.look().trouble == ""


# --- plain lines -------------------------------------------------------------------------------------------


def test_plain_lines_come_at_most_every_ten_seconds_with_the_last_one_at_the_end():
    clock, written = Clock(), []
    lines = Lines(written.append, clock)
    for number in range(35):
        lines.show(lambda number=number: View(LiveState("a", (TaskState("t", 99, complete=number),))))
        clock.now += 1
    assert [line.split("/")[0] for line in written] == ["0", "10", "20", "30"]
    lines.finish()
    lines.finish()
    assert [line.split("/")[0] for line in written[4:]] == ["34"]
    assert LINES_EVERY_S == 10


def test_notes_are_written_at_once_and_once():
    written = []
    lines = Lines(written.append, Clock())
    for text in ("", "away", "away", NASTY, "", NASTY, "away"):
        lines.note(text)
    assert written == ["note: away", "note: a checkpoint was torn"]


@pytest.mark.slow
def test_state_in_a_tag_holds_notes_without_what_a_terminal_would_obey(driven):
    (note,) = MlflowReader(driven.uri, "smoke").live().notes
    assert note == Note(note.said_ms, "a checkpoint was torn")


#: Code that runs a sweep without Ray and shows its progress as `sweeper run` does.
RUN = """
import sys
from sweeper.execution.executors import InlineExecutor
from sweeper.cli.live import progress
from sweeper.tracking.memory import MemoryRecorder
from sweeper.spec import load_spec
from sweeper.driver.sweep import Sweep
from sweeper.job import Progress
from sweeper.trial import Ended, Outcome

def work(job, report):
    for epoch in (1, 2, 3):
        report(Progress(epoch, 3, [{"accuracy": epoch / 4}] * len(job.wanted_keys), (sys.argv[2],)))
    values = {"accuracy": 0.5, "breadth": 1.0, "depth": 1.0, "time": 2.0}
    return [Ended(Outcome.COMPLETE, "", values) for _ in job.wanted_keys]

with progress() as observe:
    Sweep("smoke", sys.argv[1]).run(
        load_spec("smoke"), executor=InlineExecutor(), recorder=MemoryRecorder(), observe=observe, work=work
    )
print("the end")
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", [{}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}], ids=["usual", "forced"])
def test_running_through_a_pipe_says_plain_lines_on_the_error_output(tmp_path, names):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "sweeps"), NASTY],
        capture_output=True, text=True, env=environment(**names), timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == "the end\n"
    assert not CONTROL.search(done.stderr)
    first, note, *_, last = done.stderr.splitlines()
    assert first.startswith("0/8 trials done, ")
    assert note == "note: a checkpoint was torn"
    assert last.startswith("8/8 trials done, 0 running, 0 failed · ")
    tasks = load_spec("smoke").spec.tasks
    assert re.findall(r" · (\S+) 4/4, best 0\.750, 4 on the front, hypervolume [\d.]+", last) == list(tasks)
