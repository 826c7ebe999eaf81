"""Reads an MLflow server by its REST interface, without importing MLflow.

Users, passwords, tokens and certificates come from the same variables and files as MLflow's. Other logins, workspaces,
and artifacts that the server does not hand out itself are left to MLflow.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from sweeper.tracking.mlflow.private import documented_credentials
from sweeper.tracking.mlflow.stored import (
    SWEEP,
    Artifacts,
    Stored,
    StoredExperiment,
    StoredRun,
    StoredRunData,
    StoredRunInfo,
)
from sweeper.tracking.mlflow.tables import artifact_folder

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"

#: Variables for features that only MLflow supports: signatures, plugins, workspaces.
_NOT_HERE = (
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_WORKSPACE",
    "MLFLOW_ALLOW_HTTP_REDIRECTS",
)
_PLUGINS = "mlflow.request_header_provider"

_YES, _NO = ("true", "1"), ("false", "0", "")

_A_PAGE = 1000


def is_known() -> bool:
    """Return whether this module supports all of MLflow's variables and plugins that are set here."""
    verifies = _named("MLFLOW_TRACKING_INSECURE_TLS").lower()
    is_clear = verifies in _NO or (verifies in _YES and not _named("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    return is_clear and not any(map(_named, _NOT_HERE)) and not entry_points(group=_PLUGINS)


def _named(variable: str) -> str:
    return os.environ.get(variable, "")


class StoredServer(Stored):
    """A server's experiments and runs; every method raises `requests.RequestException` if the server does not answer.

    Args:
        tracking_uri: Its `http(s)://` address.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri, self._address = tracking_uri, tracking_uri.rstrip("/")
        self._artifact_uris: dict[str, str] = {}  # run id -> artifact URI, of the runs that were read
        self._session = requests.Session()
        self._session.mount(
            f"{urlsplit(tracking_uri).scheme}://",
            HTTPAdapter(max_retries=int(_named("MLFLOW_HTTP_REQUEST_MAX_RETRIES") or 1)),
        )
        # A header, as in MLflow, so that a login in the address takes precedence.
        if login := documented_credentials():
            self._session.headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"
        elif token := _named("MLFLOW_TRACKING_TOKEN"):
            self._session.headers["Authorization"] = f"Bearer {token}"
        is_insecure = _named("MLFLOW_TRACKING_INSECURE_TLS").lower() in _YES
        self._how: dict[str, Any] = {
            # Given with each request, because requests lets its own variables override a session's settings.
            "verify": _named("MLFLOW_TRACKING_SERVER_CERT_PATH") or not is_insecure,
            "cert": _named("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
            "timeout": float(_named("MLFLOW_HTTP_REQUEST_TIMEOUT") or 15),
        }

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def check(self) -> None:
        """Send the smallest request, to see whether the server answers this user."""
        self._asked("POST", f"{_API}/experiments/search", json={"max_results": 1}).json()

    def get_experiment_by_name(self, name: str) -> StoredExperiment | None:
        """Return an experiment, even a deleted one; None if there is none of that name."""
        path = f"{_API}/experiments/get-by-name"
        answer = self._answer("GET", path, params={"experiment_name": name})
        if answer.status_code == 404 and "RESOURCE_DOES_NOT_EXIST" in answer.text:
            return None
        answer.raise_for_status()
        return _experiment(answer.json()["experiment"])

    def experiments(self) -> list[StoredExperiment]:
        """Return the experiments that are not deleted."""
        return list(map(_experiment, self._every("experiments", {"view_type": "ACTIVE_ONLY"})))

    def experiments_of(self, sweep: str) -> list[StoredExperiment]:
        """Return the experiments that carry the tag of a sweep, also deleted ones."""
        asked = {"view_type": "ALL", "filter": f"tags.`{SWEEP}` = '{sweep}'"}
        return list(map(_experiment, self._every("experiments", asked)))

    def runs(self, experiment_ids: Sequence[str], tags: Mapping[str, str]) -> list[StoredRun]:
        """Return the runs of experiments that are not deleted and carry all of the tags, oldest first."""
        asked = {
            "experiment_ids": list(experiment_ids),
            "filter": " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items()),
            "run_view_type": "ACTIVE_ONLY",
            "order_by": ["attributes.start_time"],
        }
        return [self._run(found) for found in self._every("runs", asked)]

    def artifacts_of(self, run_id: str) -> Artifacts | None:
        """Return a run's artifacts; None if neither the server hands them out nor this machine has them as files."""
        if run_id not in self._artifact_uris:
            self._run(self._asked("GET", f"{_API}/runs/get", params={"run_id": run_id}).json()["run"])
        uri = self._artifact_uris[run_id]
        address = urlsplit(uri)
        if address.scheme == "mlflow-artifacts" and not address.netloc:
            return ServedArtifacts(self, address.path.strip("/"))
        return artifact_folder(uri)

    def listed(self, folder: str) -> list[tuple[str, bool]]:
        """Return the entries of a folder among all the server's artifacts: names, and whether they are folders."""
        files = self._asked("GET", _ARTIFACTS, params={"path": folder}).json().get("files", [])
        return [(str(file["path"]), bool(file.get("is_dir"))) for file in files]

    def content(self, path: str) -> bytes:
        """Return the content of one of the server's artifacts."""
        return self._asked("GET", f"{_ARTIFACTS}/{path}").content

    def _run(self, found: Mapping[str, Any]) -> StoredRun:
        info = found["info"]
        self._artifact_uris[info["run_id"]] = info.get("artifact_uri", "")
        return StoredRun(
            StoredRunInfo(info["run_id"], info["experiment_id"], info["status"]),
            StoredRunData(_tags(found.get("data", {}))),
        )

    def _every(self, what: str, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield all results of a search, page by page."""
        token = ""
        while True:
            page = {**asked, "max_results": _A_PAGE, "page_token": token}
            found = self._asked("POST", f"{_API}/{what}/search", json=page).json()
            yield from found.get(what, [])
            token = found.get("next_page_token", "")
            if not token:
                return

    def _asked(self, method: str, path: str, **what: Any) -> requests.Response:
        answer = self._answer(method, path, **what)
        answer.raise_for_status()
        return answer

    def _answer(self, method: str, path: str, **what: Any) -> requests.Response:
        return self._session.request(method, f"{self._address}{path}", **self._how, **what)


@dataclass(frozen=True)
class ServedArtifacts(Artifacts):
    """The artifacts of a run that a server hands out.

    Attributes:
        server: The server.
        root: Folder of the run among all the server's artifacts.
    """

    server: StoredServer
    root: str

    def paths(self, folder: str) -> set[str]:
        """Return the paths of the artifacts in one folder of the run."""
        listed = self.server.listed(f"{self.root}/{folder}".rstrip("/"))
        return {f"{folder}/{name}".lstrip("/") for name, is_folder in listed if not is_folder}

    def read(self, path: str) -> bytes:
        """Return the content of an artifact."""
        return self.server.content(f"{self.root}/{path}")


def _experiment(found: Mapping[str, Any]) -> StoredExperiment:
    return StoredExperiment(found["experiment_id"], found["name"], found["lifecycle_stage"], _tags(found))


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
