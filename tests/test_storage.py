"""Storage on a local path, on `file://`, and on a real S3-compatible server: one contract, and sweeps over it."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.fs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import model, storage
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, NoNetworkError, SweepBusyError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.results.find_network import find_network
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.train import train_population
from tests.results.test_find_network import Idle

SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20)


@pytest.fixture(params=["path", "file", "s3"])
def root(request, tmp_path):
    """A folder with hostile characters in its name, in each kind of storage."""
    if request.param == "path":
        return str(tmp_path / "ü x" / "100%")
    if request.param == "file":
        return storage.rooted((tmp_path / "ü x" / "100%").as_uri())
    return storage.join(storage.rooted(request.getfixturevalue("s3")), "ü x", "100%")


# --- the contract -----------------------------------------------------------------------------------


def test_file_that_was_never_written_is_none(root):
    assert storage.read_bytes(storage.join(root, "deep", "none.pt")) is None


@pytest.mark.parametrize("data", [b"", b"one", os.urandom(12 * 2**20)], ids=len)
def test_what_was_written_is_read_and_what_is_written_again_takes_its_place(root, data):
    location = storage.join(root, "deep", "a b+c.pt")
    storage.write_bytes(location, b"before")
    storage.write_bytes(location, data)
    assert storage.read_bytes(location) == data


def test_file_that_was_deleted_is_none(root):
    location = storage.join(root, "a.pt")
    storage.write_bytes(location, b"one")
    storage.delete(location)
    assert storage.read_bytes(location) is None


def test_check_of_a_usable_folder_leaves_nothing(root):
    storage.check(root)
    if storage.is_local(root):
        assert list(Path(root).iterdir()) == []
    else:
        system, path = pyarrow.fs.FileSystem.from_uri(root)
        assert system.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True)) == []


def test_local_file_is_written_in_a_folder_that_is_there_and_makes_none(tmp_path):
    storage.write_local(tmp_path / "a.txt", b"one")
    storage.write_local(tmp_path / "a.txt", b"another")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.txt", b"another")]
    with pytest.raises(FileNotFoundError):
        storage.write_local(tmp_path / "nowhere" / "a.txt", b"")
    assert not (tmp_path / "nowhere").exists()


def test_local_write_that_fails_in_the_middle_leaves_the_former_file(tmp_path, monkeypatch):
    location = storage.join(str(tmp_path), "a.pt")
    storage.write_bytes(location, b"whole")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        storage.write_bytes(location, b"half")
    assert storage.read_bytes(location) == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_upload_that_was_not_completed_shows_nothing(s3):
    location = storage.join(s3, "a.pt")
    storage.write_bytes(location, b"whole")
    system, path = pyarrow.fs.FileSystem.from_uri(location)
    stream = system.open_output_stream(path)
    stream.write(b"half")
    assert storage.read_bytes(location) == b"whole"
    stream.close()


def test_file_system_without_uploads_is_written_aside_and_moved(tmp_path, monkeypatch):
    seen = []

    class Slow:
        """A local file system that claims to be HDFS."""

        type_name = "hdfs"

        def __init__(self):
            self._local = pyarrow.fs.LocalFileSystem()

        def __getattr__(self, name):
            return getattr(self._local, name)

        def move(self, aside, path):
            seen.append((Path(aside).read_bytes(), Path(path).exists()))
            self._local.move(aside, path)

    @contextmanager
    def reached(uri):
        yield Slow(), str(tmp_path / "deep" / "a.pt")

    monkeypatch.setattr(storage, "reached", reached)
    for data in (b"one", b"two"):
        storage.write_bytes("hdfs://host/deep/a.pt", data)
    assert seen == [(b"one", False), (b"two", True)]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.pt"]
    assert (tmp_path / "deep" / "a.pt").read_bytes() == b"two"


# --- locations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data", "/data/mine/a.pt"),
        ("s3://bucket", "s3://bucket/mine/a.pt"),
        ("s3://bucket/?region=x", "s3://bucket/mine/a.pt?region=x"),
        ("gs://bucket/deep?project_id=1", "gs://bucket/deep/mine/a.pt?project_id=1"),
        ("hdfs://host:8020/deep/", "hdfs://host:8020/deep/mine/a.pt"),
    ],
)
def test_file_below_a_folder_keeps_what_says_how_it_is_reached(root, expected):
    assert storage.join(root, "mine", "a.pt") == expected


def test_folder_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.rooted("deep/er") == f"{tmp_path}/deep/er"
    assert storage.rooted((tmp_path / "ü x").as_uri()) == f"{tmp_path}/ü x"
    assert storage.rooted("s3://bucket/x") == "s3://bucket/x"


@pytest.mark.parametrize("location", ["s3:bucket", "s3:/bucket", "file://host/data", "file:data", "gs:x"])
def test_location_that_is_neither_path_nor_uri_is_refused_with_the_form(location):
    scheme = location.split(":")[0]
    with pytest.raises(HomeError, match=rf"--storage takes .* {scheme}://.*but got {location}"):
        storage.rooted(location)


@given(secret=SECRETS)
@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("s3://key:{}@bucket/x?region=a", "s3://bucket/x?region=a"),
        ("hdfs://me@host:8020/x", "hdfs://me@host:8020/x"),
        ("abfs://box:{}@account.host/x?sas_token={}", "abfs://box@account.host/x"),
        (
            "s3://bucket/x?Secret_Key={}&scheme=http&endpoint_override=h:9",
            "s3://bucket/x?scheme=http&endpoint_override=h:9",
        ),
        ("/data/me:x@y", "/data/me:x@y"),
    ],
)
def test_location_is_shown_without_credentials(form, shown, secret):
    assert storage.without_credentials(form.replace("{}", secret)) == shown


# --- storage that cannot be used --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("foo://host/x", "Unrecognized filesystem type"),
        ("s3://bucket/x?bogus=1", "bogus"),
        ("s3://key:hunter2hunter2@buc ket/x", "Cannot parse URI"),
        ("hdfs://host/x", r"\w+"),
    ],
)
def test_storage_that_cannot_be_is_one_line_without_credentials(uri, reason):
    with pytest.raises(HomeError, match=rf"the storage {uri[:5]}.* cannot be used: .*{reason}.*--storage") as refused:
        storage.check(uri)
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_bucket_that_does_not_exist_is_refused_before_anything_is_planned(s3, tmp_path):
    uri = s3.replace("bucket?", "nowhere/deep?")
    with pytest.raises(HomeError, match=r"s3://nowhere/deep/smoke\?.*cannot be used: .*NO_SUCH_BUCKET.*--storage"):
        run(Sweep("smoke", tmp_path, storage=uri))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_refused_before_anything_is_planned(tmp_path):
    (tmp_path / "plain").touch()
    with pytest.raises(HomeError, match=rf"{tmp_path}/plain/x/smoke cannot be used: Not a directory.*--storage"):
        run(Sweep("smoke", tmp_path / "home", storage=str(tmp_path / "plain" / "x")))
    assert list((tmp_path / "home").iterdir()) == []


# --- sweeps -----------------------------------------------------------------------------------------


def run(sweep, work=train_population, **options):
    executor = options.pop("executor", InlineExecutor())
    return sweep.run(
        options.pop("loaded", load_spec("smoke")), executor=executor, recorder=MemoryRecorder(), work=work, **options
    )


def records(home):
    return Ledger(Home(home).sweep("smoke").ledger_url, "smoke").records()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Measurements of the same sweep, undisturbed and with all files in its home."""
    home = tmp_path_factory.mktemp("undisturbed")
    run(Sweep("smoke", home))
    return {record.key: record.measurement for record in records(home)}


@pytest.mark.slow
def test_sweep_killed_in_the_middle_goes_on_from_its_checkpoints_there_and_ends_the_same(root, tmp_path, undisturbed):
    def killed(job, report):
        def report_then_die(progress):
            if progress.epoch == 2:
                raise KeyboardInterrupt
            report(progress)

        return train_population(job, report_then_die)

    with pytest.raises(KeyboardInterrupt):
        run(Sweep("smoke", tmp_path / "home", storage=root), killed)
    seen = []

    def watch(job, report):
        return train_population(job, lambda progress: (seen.append(progress.epoch), report(progress)))

    sweep = Sweep("smoke", tmp_path / "home")  # the storage is remembered
    summary = run(sweep, watch, loaded=None)
    assert (summary.counts.complete, seen[0]) == (8, 3), "the first population goes on after its second epoch"
    assert {record.key: record.measurement for record in records(tmp_path / "home")} == undisturbed
    local = {path.name for path in (tmp_path / "home" / "smoke").iterdir()}
    assert not {"checkpoints", "networks"} & local
    for record in records(tmp_path / "home"):
        assert model.load(find_network(Home(tmp_path / "home"), record.key).path).description["key"] == record.key


@pytest.mark.slow
def test_network_is_copied_once_or_where_the_copy_is_damaged_and_read_without_its_storage_after_that(root, tmp_path):
    home = tmp_path / "home"
    run(Sweep("smoke", home, storage=root))
    one, two, *_ = (record.key for record in records(home))
    path = find_network(Home(home), one).path
    assert path == home / "smoke" / "networks" / f"{one}.safetensors"
    path.write_bytes(b"half")
    assert model.load(find_network(Home(home), one).path).description["key"] == one
    folder = Home(home).sweep("smoke")
    for key in (one, two):
        storage.delete(folder.network(key))
    assert find_network(Home(home), one).path == path
    with pytest.raises(NoNetworkError, match=f"networks/{two}.safetensors.*it was removed"):
        find_network(Home(home), two)


@pytest.mark.slow
def test_storage_that_goes_away_fails_no_trial_and_says_so(s3, tmp_path):
    notes = []
    gone = Sweep("smoke", tmp_path, storage=s3)
    run(gone, executor=Idle())
    system, bucket = pyarrow.fs.FileSystem.from_uri(s3 + "&allow_bucket_deletion=true")

    def losing(job, report):
        if system.get_file_info(bucket).type is not pyarrow.fs.FileType.NotFound:
            system.delete_dir(bucket)
        return train_population(job, report)

    summary = run(Sweep("smoke", tmp_path), losing, observe=lambda snapshot: notes.append(snapshot.note))
    system, bucket = pyarrow.fs.FileSystem.from_uri(s3 + "&allow_bucket_creation=true")
    system.create_dir(bucket)
    assert summary.counts.complete == 8
    assert any("no checkpoint could be written to s3://bucket/smoke" in n and "NO_SUCH_BUCKET" in n for n in notes)
    assert any("networks could not be written to s3://bucket/smoke" in n for n in notes)


@pytest.mark.slow
def test_credentials_in_a_storage_uri_reach_the_workers_and_are_never_kept(s3, tmp_path):
    uri = s3.replace("s3://", "s3://someone:hunter2hunter2@")
    seen = []

    def note(job, report):
        seen.append(job.checkpoint)
        return train_population(job, report)

    run(Sweep("smoke", tmp_path, storage=uri), note)
    assert all("hunter2" in location for location in seen)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
    assert Home(tmp_path).sweep("smoke").files == storage.join(s3, "smoke")


@pytest.mark.parametrize("kind", ["checkpoints", "networks"])
def test_files_of_workers_killed_while_writing_are_removed_from_local_storage(tmp_path, kind):
    folder = Home(tmp_path / "home", str(tmp_path / "storage")).sweep("smoke")
    torn = tmp_path / "storage" / "smoke" / kind / "a.17.tmp"
    torn.parent.mkdir(parents=True)
    torn.touch()
    with folder.drive():
        assert not torn.exists()
        torn.touch()  # from a machine that is lost meanwhile
    assert not torn.exists()


def test_driver_that_failed_leaves_the_files_of_workers_to_the_next_one(tmp_path):
    folder = Home(tmp_path).sweep("smoke")
    torn = folder.path / "networks" / "a.17.tmp"
    driver = ExitStack()
    driver.enter_context(folder.drive())
    torn.parent.mkdir()
    torn.touch()
    with pytest.raises(SweepBusyError), driver:
        raise SweepBusyError("another driver has taken over")
    assert torn.exists()
