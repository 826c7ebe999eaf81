"""Code that runs around a job on a worker, and on a node that is checked; it reports modules that are missing there.

All of it is sent by value, so a worker that lacks sweeper, or finds another module of that name, can still report that.
Each function imports what it needs when it runs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.imports import import_problem, way_out

if TYPE_CHECKING:  # a worker may not have sweeper
    from sweeper.execution.contract import Work
    from sweeper.trial import Ended

#: Matches the names of import errors.
_IMPORT = re.compile(r"(ModuleNotFound|Import|Syntax)Error\b")


def packed(call: Callable[..., Any]) -> bytes:
    """Return a function as bytes; unpacking them imports its module."""
    from ray import cloudpickle

    return bytes(cloudpickle.dumps(call))  # type: ignore[no-untyped-call]  # ray has no types here


def travel_by_value() -> None:
    """Make Ray send this module to workers as code, and not by its name."""
    from ray import cloudpickle

    for name in ("sweeper.imports", __name__):
        cloudpickle.register_pickle_by_value(sys.modules[name])  # type: ignore[no-untyped-call]  # ray has no types here


def trainable(work: Work) -> Callable[[dict[str, str]], None]:
    """Return the function that a worker runs: it works on one job, given as text in the configuration."""
    unpacked = packed(work)
    worked_on: list[str] = []  # keys of this process's jobs, because each worker unpacks its own list

    def train(config: dict[str, str]) -> None:
        import json
        from dataclasses import asdict, replace

        import ray
        from ray import cloudpickle, tune

        try:
            from sweeper.job import job_from_json

            # The work checks whether torch can use the GPU that Ray has given: this module does not know torch.
            job = replace(job_from_json(config["job"]), device="cuda" if ray.get_gpu_ids() else "cpu")
            call = cloudpickle.loads(unpacked)
        except (Exception, SystemExit) as error:  # nothing was trained yet, so any error is the worker's
            tune.report({"unable": json.dumps(unable(error))})
            return
        try:
            ended = call(job, lambda progress: tune.report({"progress": json.dumps(asdict(progress))}))
        except Exception as error:
            from sweeper.errors import SpecMismatchError

            if isinstance(error, SpecMismatchError):
                tune.report({"stop": str(error)})
                return
            if not import_problem(error):
                raise
            tune.report({"unable": json.dumps(unable(error))})
            return
        worked_on.append(job.key)
        if len(worked_on) > 1 and config.get("may_be_spoiled") and failed_as_a_whole(ended):
            tune.report({"spoiled": json.dumps(ended[0].reason)})
            raise RuntimeError("this worker has worked before, and is not used any more")
        tune.report({"ended": json.dumps([asdict(member) for member in ended])})

    return train


def failed_as_a_whole(ended: Sequence[Ended]) -> bool:
    """Return whether all members failed, possibly because an earlier job left the process without memory."""
    from sweeper.trial import Outcome

    return bool(ended) and all(
        member.outcome in (Outcome.FAILED, Outcome.OUT_OF_MEMORY) and not member.is_final for member in ended
    )


def unable(error: BaseException) -> dict[str, str]:
    """Return the node on which nothing can be trained, and the reason."""
    import ray

    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]  # ray has no types here
    node = f"{address} ({ray.get_runtime_context().get_node_id()[:8]})"
    return {"node": node, "problem": import_problem(error) or f"{type(error).__name__}: {error}"}


def unable_sentence(told: Mapping[str, str]) -> str:
    """Return the user's message about a worker that could not begin."""
    problem = told["problem"]
    return (
        f"the worker on {told['node']} cannot train: {problem}. {way_out(problem, 'there')}, and resume the sweep: no "
        "trial has failed of it, what has no outcome waits."
    )


def unable_in(text: str) -> str:
    """Return why a worker could not be set up, from Ray's message; empty if the cause was not an import.

    Args:
        text: Ray's message, with a traceback of that worker and its address.
    """
    _, is_ray_sure, said = text.rpartition("failed to import on the worker")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [n for n, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception|Exit)\b(:|$)", line)]
    if not errors or not (is_ray_sure or ("creation task" in text and _IMPORT.match(lines[errors[-1]]))):
        return ""
    error = lines[errors[-1]]
    files = [m[1] for line in lines[: errors[-1]] if (m := re.match(r'File "([^"<]+)"', line))]
    missing = re.search(r"No module named '([^']+)'", error)
    blamed = f"{files[-1]} cannot be imported" if files else "it cannot be set up"
    blamed = f"{missing[1]} is missing" if missing else blamed
    where = re.search(r"\bip[=:] ?([\d.:a-f]+\w)", text)
    return unable_sentence({"node": where[1] if where else "a node of the cluster", "problem": f"{blamed} ({error})"})


def asked(question: bytes) -> dict[str, str]:
    """Call a packed function without arguments on a node and return its answer, or the import that fails there."""
    try:
        from ray import cloudpickle

        return dict(cloudpickle.loads(question)())
    except Exception as error:  # a node that lacks something may raise any exception
        said = import_problem(error) or " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {"problem": f"{said}. {way_out(said, 'there')}"}
