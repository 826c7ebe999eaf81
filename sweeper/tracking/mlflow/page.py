"""Keeps MLflow's page of a sweep's run up to date: a description with the fronts as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.analysis.fronts import Front
from sweeper.tracking.mlflow.client import artifact_paths, upload
from sweeper.tracking.mlflow.notes import NOTE, picture_path, sweep_note

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import MlflowClient, Run


class SweepPage:
    """Keeps the page of one sweep's run up to date with its fronts; showing the same twice changes nothing."""

    def __init__(self, client: MlflowClient, run: Run, sweep: str) -> None:
        self._client, self._run_id, self._sweep = client, str(run.info.run_id), sweep
        self._said = run.data.tags.get(NOTE, "")
        self._pictures: set[str] = set()  # paths of stored pictures
        self._undrawn: set[str] = set()  # paths of pictures that cannot be drawn

    def show(self, fronts: Sequence[Front]) -> None:
        """Show fronts, one for each task: store the pictures first, then the description that links to them."""
        for front in fronts:
            self._store_picture(front)
        note = sweep_note(self._sweep, fronts, self._run_id, self._pictures)
        if note != self._said:
            self._client.set_tag(self._run_id, NOTE, note, synchronous=True)
            self._said = note

    def _store_picture(self, front: Front) -> None:
        path = picture_path(front)
        if path in self._pictures or path in self._undrawn or not front.table.num_rows:
            return
        if path not in artifact_paths(self._client, self._run_id, path.rpartition("/")[0]):
            from sweeper.tracking.mlflow.front_image import draw_front  # loads matplotlib, which readers do not need

            try:
                picture = draw_front(front)
            except Exception:  # a picture that fails must not stop the mirror
                self._undrawn.add(path)
                return
            upload(self._client, self._run_id, path, picture)
        self._pictures.add(path)
