"""The reader of archives keeps every reader's contract: before each question, a recorder's content is archived."""

from __future__ import annotations

import pytest

from sweeper.archived import MARKER, SCHEME
from sweeper.errors import SweepError
from sweeper.tracking.archived.reader import ArchivedReader, mirrored_files
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.tracking.trackers import reader_of
from tests.contracts.reader import ReaderContract
from tests.contracts.recorder import FACTS


class Archiving:
    """A reader that archives a recorder's content anew before each question."""

    def __init__(self, recorder, folder, sweep):
        self._recorder, self._folder = recorder, folder / FACTS.name
        self._reader = reader_of(f"{SCHEME}{self._folder}", sweep)
        self._folder.mkdir(exist_ok=True)

    def __getattr__(self, name):
        if self._recorder.sweep is not None:
            (self._folder / MARKER).write_text("{}")
            for key, data in self._recorder.networks.items():
                self._write(f"networks/{key}.safetensors", data)
            kept = MemoryReader(self._recorder, FACTS.name)
            for path, data in mirrored_files(kept, [["accuracy", "time"]], as_it_is=True):
                self._write(path, data)
        return getattr(self._reader, name)

    def _write(self, path, data):
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


class TestArchivedReader(ReaderContract):
    @pytest.fixture
    def recorder(self):
        return MemoryRecorder(network=str.encode)

    @pytest.fixture
    def reader(self, recorder, tmp_path):
        return Archiving(recorder, tmp_path, FACTS.name)

    @pytest.fixture
    def other_reader(self, recorder, tmp_path):
        return Archiving(recorder, tmp_path, "other")

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"facts": 1, "networks": [], "aims": ""}', b"\xff"])
    def test_file_of_facts_that_holds_something_else_is_one_error(self, recorder, reader, tmp_path, content):
        recorder.open(FACTS)
        assert reader.facts()
        (tmp_path / FACTS.name / "mirror" / "facts.json").write_bytes(content)
        with pytest.raises(SweepError, match=r"facts\.json in the archive of sweep 'small'"):
            ArchivedReader(f"{SCHEME}{tmp_path / FACTS.name}", FACTS.name).facts()
