"""Jobs and outcomes as text: how they travel to a worker and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sweeper.job import Job, Lease
from sweeper.trial import Ended, Outcome


def job_text(job: Job) -> str:
    """Return a job as text."""
    return json.dumps(asdict(job))


def job_from(text: str) -> Job:
    """Return the job that `job_text` wrote."""
    values = json.loads(text)
    tuples = {name: tuple(values[name]) for name in ("keys", "settings", "wanted", "networks", "stopped")}
    lease = values["lease"] and Lease(**values["lease"])
    return Job(**{**values, **tuples, "lease": lease})


def job_on_worker(text: str) -> Job:
    """Return a job from its text, with what its worker was given."""
    import ray

    # What torch makes of a GPU that Ray has given, the work finds out: it knows torch, and this does not.
    return replace(job_from(text), device="cuda" if ray.get_gpu_ids() else "cpu")


def ended_from(values: Mapping[str, Any]) -> Ended:
    """Return how a member of a population ended from its values, as `asdict` gives them."""
    outcome = values["outcome"]
    return Ended(**{**values, "outcome": Outcome(outcome) if outcome else None})
