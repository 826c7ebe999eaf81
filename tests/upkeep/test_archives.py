"""`sweeper archive` and `unarchive`: one file that holds a whole sweep, and hostile files in its place."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from sweeper import cache, storage
from sweeper.checks.audit import audit
from sweeper.errors import HomeError, QueryError, SweepBusyError, TrackingError
from sweeper.ledger.home import Home
from sweeper.ledger.standing import standing_of
from sweeper.tracking.memory import MemoryRecorder
from sweeper.upkeep import archive_file, archives
from sweeper.upkeep.archives import archive, unarchive, unpacked
from sweeper.upkeep.removing import delete, removal_of
from tests.support.stuck import a_stuck_driver
from tests.upkeep.conftest import files_below, trained

#: Every command that reads a sweep; KEY stands for a network on its front.
READING = (
    "status first",
    "status first --json",
    "pareto first",
    "pareto first --json",
    "pareto first --objectives time,accuracy",
    "trials first --json",
    "findings first --json",
    "plot first",
    "watch first --once --json",
    "show KEY --sweep first",
    "export KEY --sweep first -o network.safetensors",
)


@pytest.fixture(scope="session")
def packed(finished, tmp_path_factory):
    """An archive of a finished sweep; tests must not change it."""
    file = tmp_path_factory.mktemp("packed") / "first.zip"
    archive(Home(finished), "first", file)
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


def key_of(sweeper, home):
    return json.loads(sweeper("pareto", "first", "--json", "--home", home)[1])[0]["key"]


# --- archives are read like homes --------------------------------------------------------------------


def _lasting(text):
    """Return an output without the ages in it."""
    return re.sub(r'"(age|last_heard)_s": [\d.e+-]+', "", text)


def test_every_reading_command_says_of_an_archive_what_it_says_of_the_home(sweeper, packed, finished):
    key = key_of(sweeper, packed)
    before = files_below(finished)
    for command in READING:
        words = command.replace("KEY", key).split()
        ours, theirs = (sweeper(*words, "--home", home) for home in (packed, finished))
        assert (theirs[0], theirs[2]) == (0, ""), command
        assert _lasting(ours[1]) == _lasting(theirs[1]), command
        assert (ours[0], ours[2]) == (0, "")
    assert files_below(finished) == before
    ours, theirs = (json.loads(sweeper("list", "--json", "--home", home)[1])[0] for home in (packed, finished))
    assert {**ours, "size": 0} == {**theirs, "size": 0}


def test_archive_is_read_alone_whatever_else_is_named(sweeper, packed, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("SWEEPER_STORAGE", str(tmp_path / "nowhere"))
    code, out, err = sweeper("pareto", "first", "--json", "--home", packed)
    assert (code, err) == (0, "")
    assert sweeper("show", json.loads(out)[0]["key"], "--home", packed)[0] == 0
    code, _, err = sweeper("pareto", "second", "--home", packed)
    assert (code, "no sweep 'second'" in err) == (2, True)


def test_python_reads_an_archive(packed, finished):
    import sweeper

    ours, theirs = (sweeper.load_sweep("first", home=home) for home in (packed, finished))
    assert ours.trials().equals(theirs.trials())
    assert ours.spec == theirs.spec


def test_report_of_an_archive_is_written_beside_and_stored_nowhere(sweeper, packed, own_cache):
    before = {path: data for path, data in files_below(own_cache).items() if "archives" in path}
    code, out, _ = sweeper("report", "first", "--home", packed, "-o", "report.html")
    assert code == 0
    assert "stored" not in out
    assert Path("report.html").stat().st_size > 100_000
    after = {path: data for path, data in files_below(own_cache).items() if "archives" in path}
    assert not before
    assert not [path for path in after if path.endswith("report.html")]


def test_archive_holds_the_report_and_the_fronts_for_whoever_has_no_sweeper(sweeper, finished):
    code, out, err = sweeper("archive", "first", "--home", finished, "-o", "given.zip")
    assert (code, err) == (0, "")
    assert "given.zip is the archive of sweep first" in out
    with zipfile.ZipFile("given.zip") as given:
        assert given.testzip() is None
        assert given.read("report.html").startswith(b"<!doctype html>")
        (table,) = [name for name in given.namelist() if name.endswith(".csv")]
        assert given.read(table).splitlines()[0].startswith(b"accuracy") or b"accuracy" in given.read(table)


def test_the_same_sweep_makes_the_same_bytes_from_a_copy_of_its_home_too(packed, finished, tmp_path):
    for number, root in enumerate((finished, Path(shutil.copytree(finished, tmp_path / "copy")))):
        again = tmp_path / f"{number}.zip"
        archive(Home(root), "first", again)
        assert again.read_bytes() == packed.read_bytes()


def test_second_reading_unpacks_nothing(packed, monkeypatch):
    first = unpacked(packed)
    monkeypatch.setattr(archive_file, "unpack", lambda *_: pytest.fail("unpacked again"))
    assert unpacked(packed) == first
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_archive_is_read_where_nothing_can_be_cached(sweeper, packed, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "file" / "cache"))
    assert sweeper("pareto", "first", "--json", "--home", packed)[0] == 0


@pytest.mark.parametrize(
    "command", ["resume first", "run smoke --name first", "mirror first", "delete first --yes", "audit first"]
)
def test_what_writes_refuses_an_archive_with_the_way_out(sweeper, packed, command):
    before = packed.read_bytes()
    code, out, err = sweeper(*command.split(), "--home", packed)
    assert (code, out) == (2, "")
    assert f"`sweeper unarchive {packed}`" in err
    assert err.count("\n") == 1
    assert packed.read_bytes() == before


def test_unpacked_archive_is_not_driven_either(packed):
    home = Home(unpacked(packed))
    with pytest.raises(HomeError, match="is of an archive, which is only read"), home.sweep("first").drive():
        pass
    with pytest.raises(HomeError, match="is of an archive"):
        delete(removal_of(home, "first"))
    assert standing_of(home.known("first")).state == "finished"


# --- unarchive ---------------------------------------------------------------------------------------


def whole(home, name):
    return all(promise.holds for promise in audit(home.known(name), home.tracking_uri_of(name)))


def test_sweep_of_an_archive_keeps_every_promise_and_answers_alike(sweeper, packed, finished, tmp_path, empty_database):
    (tmp_path / "other").mkdir()
    shutil.copy(empty_database, tmp_path / "other" / "mlflow.db")
    code, _, err = sweeper("unarchive", packed, "--home", tmp_path / "other")
    assert (code, err) == (0, "")
    home = Home(tmp_path / "other")
    assert whole(home, "first")
    for command in ("pareto first --json", "trials first --json", "status first --json"):
        ours, theirs = (sweeper(*command.split(), "--home", where) for where in (home.root, finished))
        assert ours == theirs, command
    for path, data in files_below(finished / "first" / "networks").items():
        assert (home.root / "first" / "networks" / path).read_bytes() == data
    assert not (home.root / "first" / "mirror").exists()
    code, _, err = sweeper("resume", "first", "--home", home.root)
    assert code == 0


def test_version_of_a_front_that_was_stored_often_is_kept(sweeper, home, tmp_path):
    from sweeper.tracking.mlflow.reader import MlflowReader
    from sweeper.tracking.mlflow.recorder import MlflowRecorder
    from sweeper.tracking.recorder import SweepFacts

    (front,) = MlflowReader(home.tracking_uri, "first").fronts()
    recorder = MlflowRecorder(home.tracking_uri)
    spec = MlflowReader(home.tracking_uri, "first").artifact("spec.yaml").decode()
    identity = standing_of(home.known("first")).identity
    aims = MlflowReader(home.tracking_uri, "first").trials()
    from sweeper.analysis.trials import aims as written

    recorder.open(SweepFacts("first", spec, "{}", {}, identity, written(aims.objectives, aims.reference_point)))
    recorder.record_front(type(front)(**{**vars(front), "table": front.table.slice(0, 1)}))
    recorder.record_front(front)
    assert sweeper("mirror", "first", "--home", home.root)[0] == 0
    archive(home, "first", tmp_path / "often.zip")
    assert sweeper("unarchive", tmp_path / "often.zip", "--home", tmp_path / "other")[0] == 0
    ours, theirs = (
        json.loads(sweeper("pareto", "first", "--json", "--home", where)[1])
        for where in (tmp_path / "other", home.root)
    )
    assert ours == theirs
    assert MlflowReader(Home(tmp_path / "other").tracking_uri, "first").fronts()[0].version == 3


def test_home_that_has_the_name_keeps_its_sweep(sweeper, packed, home, tmp_path):
    before = files_below(home.root / "first")
    code, _, err = sweeper("unarchive", packed, "--home", home.root)
    assert (code, "and it is this one" in err) == (2, True)
    delete(removal_of(home, "first"))
    trained(tmp_path, "first", home.root)
    with pytest.raises(HomeError, match=r"already\. Rename that one with `sweeper rename first OTHER`"):
        unarchive(packed, home)
    assert before.keys() - {"ledger.db"}
    assert whole(home, "first")


def test_mlflow_that_has_the_name_keeps_its_sweep(packed, home, tmp_path):
    delete(removal_of(home, "first"))
    trained(tmp_path, "first", home.root)
    with pytest.raises(TrackingError, match="holds another sweep named 'first'"):
        unarchive(packed, Home(tmp_path / "empty"), home.tracking_uri)
    assert not (tmp_path / "empty" / "first").exists()


def test_unarchiving_that_was_interrupted_is_gone_on_with(packed, tmp_path, monkeypatch, empty_database):
    home = Home(tmp_path / "other")
    home.root.mkdir()
    shutil.copy(empty_database, home.root / "mlflow.db")
    with monkeypatch.context() as patched:
        patched.setattr(archives, "_bring_fronts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            unarchive(packed, home)
    assert standing_of(home.known("first")).state == "finished", "it can be read already"
    assert unarchive(packed, home) == "first"
    assert not home.sweep("first").is_archived
    assert {path.name.partition("-")[0] for path in home.root.iterdir()} == {"first", "mlflow.db", "artifacts"}


@pytest.mark.parametrize("damage", ["missing", "torn", "another trial's"])
def test_network_that_is_damaged_is_refused_or_left_out_on_request(sweeper, home, damage):
    one, other = sorted((home.root / "first" / "networks").iterdir())
    if damage == "missing":
        one.unlink()
    else:
        one.write_bytes(other.read_bytes() if damage == "another trial's" else one.read_bytes()[:-1])
    code, out, err = sweeper("archive", "first", "--home", home.root)
    assert (code, out) == (2, "")
    assert f"the network of trial {one.stem} of sweep 'first' cannot be archived" in err
    assert "--as-it-is" in err
    assert not Path("first.zip").exists()
    code, out, err = sweeper("archive", "first", "--home", home.root, "--as-it-is", "--no-report")
    assert (code, "1 networks" in out) == (0, True)
    assert f"left out: the network of trial {one.stem}" in err
    assert sweeper("show", other.stem, "--home", "first.zip")[0] == 0
    assert sweeper("show", one.stem, "--home", "first.zip")[0] == 2


def test_sweep_of_another_identity_in_mlflow_is_not_archived(home, tmp_path):
    other = trained(tmp_path, "first", tmp_path / "other", MemoryRecorder())
    with pytest.raises(TrackingError, match="holds another sweep named 'first'"):
        archive(other, "first", tmp_path / "first.zip", home.tracking_uri)


@pytest.mark.slow
def test_running_sweep_is_not_archived(home, tmp_path):
    with a_stuck_driver(home.root, "stuck") as pid, pytest.raises(SweepBusyError, match=f"process {pid}"):
        archive(home, "stuck", tmp_path / "stuck.zip")
    assert not (tmp_path / "stuck.zip").exists()


def test_sweep_that_mlflow_does_not_have_names_the_command_that_writes_it(home, tmp_path):
    trained(tmp_path, "third", home.root, MemoryRecorder())
    with pytest.raises(LookupError, match="no sweep 'third'"):
        archive(home, "third", tmp_path / "third.zip")
    assert not list(tmp_path.glob("third.zip*"))


def test_place_that_cannot_be_written_is_one_sentence_and_nothing_is_left(home, tmp_path):
    with pytest.raises(QueryError, match="it is no file"):
        archive(home, "first", tmp_path)
    with pytest.raises(QueryError, match="cannot write"):
        archive(home, "first", tmp_path / "nowhere" / "first.zip")
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.slow
def test_sweep_with_a_shared_ledger_and_files_elsewhere_is_archived_whole(postgres, monkeypatch, home, tmp_path):
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    places = {"ledger": postgres.new_database(), "storage": str(tmp_path / "storage")}
    trained(tmp_path, "third", home.root, **places)
    for name in ("one.zip", "two.zip"):
        archive(home, "third", tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    other = Home(tmp_path / "other")
    unarchive(tmp_path / "one.zip", other)
    from sweeper.driver.sweep import Sweep

    assert Sweep("third", other.root).mirror().is_finished
    assert whole(other, "third")


# --- hostile archives --------------------------------------------------------------------------------


def rewritten(packed, target, change, listed=lambda facts: facts, kinds=None):
    """Write a changed archive with right digests.

    Args:
        packed: Archive to start from.
        target: File to write.
        change: Takes the content of each file by path, and returns it changed.
        listed: Takes the archive's list of files, and returns it changed.
        kinds: Type and mode of a file by path, as in `st_mode`; other paths are regular files.
    """
    with zipfile.ZipFile(packed) as source:
        files = {name: source.read(name) for name in source.namelist()}
    facts = json.loads(files.pop("archive.json"))
    files = change(files)
    facts["files"] = {
        path: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for path, data in files.items()
    }
    with zipfile.ZipFile(target, "w") as written:
        for path, data in {**files, "archive.json": json.dumps(listed(facts)).encode()}.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (kinds or {}).get(path, 0o100644) << 16
            written.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return target


def with_file(path, data=b"x"):
    return lambda files: {**files, path: data}


def without(name):
    return lambda files: {path: data for path, data in files.items() if not path.endswith(name)}


def with_list(**changes):
    return lambda facts: {**facts, **changes}


LEDGER = "sweeps/first/ledger.db"

HOSTILE = {
    "a path that leads out": {"change": with_file("../evil")},
    "a path that leads out from within": {"change": with_file("sweeps/first/../../../evil")},
    "an absolute path": {"change": with_file("/tmp/evil.csv")},
    "a path with a backslash": {"change": with_file("sweeps\\first\\evil.csv")},
    "a path with a zero": {"change": with_file("fronts/a\nb.csv")},
    "another sweep": {"change": with_file("sweeps/second/ledger.db")},
    "a file that no sweep has": {"change": with_file("sweeps/first/code.py")},
    "a driver": {"change": with_file("sweeps/first/driver.json")},
    "a link": {"change": lambda files: files, "kinds": {LEDGER: 0o120777}},
    "a device": {"change": lambda files: files, "kinds": {LEDGER: 0o020666}},
    "a bomb": {"change": with_file("fronts/0.csv", bytes(2**28))},
    "no ledger": {"change": without("ledger.db")},
    "no marker": {"change": without("first/archived.json")},
    "no marker of the home": {"change": without("sweeps/archived.json")},
    "another name": {"change": lambda files: files, "listed": with_list(sweep="second")},
    "a name that leads out": {"change": lambda files: files, "listed": with_list(sweep="../first")},
    "a newer format": {"change": lambda files: files, "listed": with_list(format=99)},
    "no format": {"change": lambda files: files, "listed": lambda facts: {"sweep": "first"}},
    "a list that is none": {"change": lambda files: files, "listed": lambda facts: [facts]},
    "files that are none": {"change": lambda files: files, "listed": with_list(files={LEDGER: 3})},
    "no files": {"change": lambda files: files, "listed": with_list(files={})},
    "a size that is another one": {
        "change": lambda files: files,
        "listed": lambda facts: {**facts, "files": {**facts["files"], LEDGER: {**facts["files"][LEDGER], "size": 1}}},
    },
    "a size below nothing": {
        "change": lambda files: files,
        "listed": lambda facts: {**facts, "files": {**facts["files"], LEDGER: {**facts["files"][LEDGER], "size": -1}}},
    },
    "a digest that is another one": {
        "change": lambda files: files,
        "listed": lambda facts: {
            **facts,
            "files": {**facts["files"], LEDGER: {**facts["files"][LEDGER], "sha256": "0" * 64}},
        },
    },
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_is_refused_in_one_sentence_and_leaves_nothing(sweeper, packed, tmp_path, own_cache, kind):
    bad = rewritten(packed, tmp_path / "bad.zip", **HOSTILE[kind])
    (tmp_path / "inside").mkdir()
    before = files_below(tmp_path)
    for words in (("pareto", "first", "--home", bad), ("unarchive", bad, "--home", tmp_path / "inside")):
        code, out, err = sweeper(*words)
        assert (code, out) == (2, "")
        assert err.startswith(f"sweeper: the archive {bad} ")
        assert err.count("\n") == 1
    assert files_below(tmp_path) == before
    assert not list((own_cache / "archives").glob("*"))
    assert not Path("/tmp/evil.csv").exists()


def test_archive_made_again_without_a_change_is_read(packed, tmp_path):
    again = rewritten(packed, tmp_path / "again.zip", lambda files: files)
    assert unpacked(again).joinpath("first", "ledger.db").is_file()


def test_two_files_of_one_name_are_refused(packed, tmp_path):
    bad = Path(shutil.copy(packed, tmp_path / "bad.zip"))
    with zipfile.ZipFile(bad, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr(LEDGER, b"another one")
    with pytest.raises(HomeError, match="two of its files have one name"):
        unpacked(bad)


def test_encrypted_file_is_refused(packed, tmp_path):
    data = bytearray(packed.read_bytes())
    at = data.index(b"PK\x01\x02")  # flags of the directory's first entry
    data[at + 8] |= 1
    (tmp_path / "bad.zip").write_bytes(data)
    with pytest.raises(HomeError, match="encrypted"):
        unpacked(tmp_path / "bad.zip")


@pytest.mark.parametrize("content", [b"", b"PK", b"name: first\n", bytes(1000)])
def test_file_that_is_no_archive_is_refused(sweeper, tmp_path, content):
    (tmp_path / "bad.zip").write_bytes(content)
    code, out, err = sweeper("status", "--home", tmp_path / "bad.zip")
    assert (code, out) == (2, "")
    assert "must be a folder or an archive of a sweep" in err
    code, _, err = sweeper("unarchive", tmp_path / "bad.zip")
    assert (code, "is no archive of a sweep, or was cut short" in err) == (2, True)


def test_archive_that_was_cut_short_or_changed_anywhere_is_whole_or_refused(packed, tmp_path):
    data = packed.read_bytes()
    original = files_below(unpacked(packed))
    refused = 0
    positions = [round(part * (len(data) - 1) / 150) for part in range(151)]
    for number, position in enumerate(positions):
        for kind, content in {
            "cut": data[:position],
            "flipped": data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :],
        }.items():
            bad = tmp_path / f"{number}-{kind}.zip"
            bad.write_bytes(content)
            try:
                archive_file.unpack(bad, tmp_path / f"{number}-{kind}")
            except HomeError:
                refused += 1
                assert not (tmp_path / f"{number}-{kind}").exists()
            else:
                assert kind == "flipped", "a part of an archive is none"
                assert files_below(tmp_path / f"{number}-{kind}" / "sweeps") == original
            bad.unlink()
    assert refused > 250


def test_full_disk_is_one_sentence(packed, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(HomeError, match="no room"):
        unarchive(packed, Home(tmp_path / "full"))
    assert not list((tmp_path / "full").iterdir())
    assert storage.sizes_below(str(tmp_path / "full")) == {}
