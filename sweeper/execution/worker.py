"""What runs on a worker around a job, and on a node that is looked at: it can say what cannot be imported there.

All of it travels by value: a worker that lacks sweeper, or finds another file of its name, still says so. Each function
imports what it needs when it runs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.imports import import_problem, way_out

if TYPE_CHECKING:  # a worker may not find it
    from sweeper.execution.contract import Work
    from sweeper.trial import Ended

#: How errors of an import are told.
_IMPORT = re.compile(r"(ModuleNotFound|Import|Syntax)Error\b")


def packed(call: Callable[..., Any]) -> bytes:
    """Return a function as bytes, which whoever unpacks them imports."""
    from ray import cloudpickle

    return bytes(cloudpickle.dumps(call))  # type: ignore[no-untyped-call]  # ray has no types here


def travel_by_value() -> None:
    """Have what is here sent whole to workers, and not by its name."""
    from ray import cloudpickle

    for name in ("sweeper.imports", __name__):
        cloudpickle.register_pickle_by_value(sys.modules[name])  # type: ignore[no-untyped-call]  # ray has no types here


def trainable(work: Work) -> Callable[[dict[str, str]], None]:
    """Return what a worker runs: one job, from its text in the configuration."""
    unpacked = packed(work)
    worked_on: list[str] = []  # by this process: each worker unpacks a list of its own

    def train(config: dict[str, str]) -> None:
        import json
        from dataclasses import asdict, replace

        import ray
        from ray import cloudpickle, tune

        try:
            from sweeper.job import job_from_json

            # What torch makes of a GPU that Ray has given, the work finds out: it knows torch, and this does not.
            job = replace(job_from_json(config["job"]), device="cuda" if ray.get_gpu_ids() else "cpu")
            call = cloudpickle.loads(unpacked)
        except (Exception, SystemExit) as error:  # whatever it is, nothing was trained
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
    """Tell whether it may be the fault of the process: an earlier job may have left it without memory, for one."""
    from sweeper.trial import Outcome

    return bool(ended) and all(
        member.outcome in (Outcome.FAILED, Outcome.OUT_OF_MEMORY) and not member.is_final for member in ended
    )


def unable(error: BaseException) -> dict[str, str]:
    """Return on which node nothing can be trained, and why."""
    import ray

    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]  # ray has no types here
    node = f"{address} ({ray.get_runtime_context().get_node_id()[:8]})"
    return {"node": node, "problem": import_problem(error) or f"{type(error).__name__}: {error}"}


def unable_sentence(told: Mapping[str, str]) -> str:
    """Return what a user is told of a worker that could not begin."""
    problem = told["problem"]
    return (
        f"the worker on {told['node']} cannot train: {problem}. {way_out(problem, 'there')}, and resume the sweep: no "
        "trial has failed of it, what has no outcome waits."
    )


def unable_in(text: str) -> str:
    """Return why a worker could not even be set up, from what Ray says of it; empty where that was not for an import.

    Args:
        text: With a traceback of that worker, and its address, in Ray's own words.
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
    """Answer a question on a node, a packed function without arguments; or say what cannot be imported there."""
    try:
        from ray import cloudpickle

        return dict(cloudpickle.loads(question)())
    except Exception as error:  # whatever a node lacks, it says with an exception of its own
        said = import_problem(error) or " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {"problem": f"{said}. {way_out(said, 'there')}"}
