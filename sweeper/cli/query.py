"""Commands that query stored sweeps from MLflow alone: fronts, questions about them, and trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import JsonOption, Name, ReadHomeOption, TrackingOption, checked, tracking_of
from sweeper.cli.output import Answered, FormatOption, OutputOption, Target, say_earlier
from sweeper.errors import QueryError, UnknownSweepError

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.results.loaded_sweep import LoadedSweep
    from sweeper.results.questions import Answer

TaskOption = Annotated[str | None, typer.Option("--task", metavar="TASK", help="Label of one task; default: all.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help='A condition such as "accuracy >= 0.9 and (time < 3 or breadth < 2)", on any axis or measurement; '
        "may be repeated, then all must hold.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(
        app,
        "sweeper pareto quickstart --task digits-10",
        'sweeper pareto quickstart --at "accuracy >= 0.95" --minimize breadth',
        "sweeper pareto quickstart --format latex -o front.tex",
    )(pareto)
    command(app, 'sweeper trials quickstart --where "outcome != complete" --format csv -o trials.csv')(trials)


@dataclass(frozen=True)
class _Question:
    """The options of `pareto` that ask a question about the front; at most one question is allowed."""

    at: str | None
    minimize: str | None
    maximize: str | None
    compare: str | None
    dominated_by: str | None
    dominating: str | None
    seeds: bool

    @property
    def asked(self) -> list[str]:
        """The given options that each ask a question of their own."""
        options = {
            "--at": self.at,
            "--compare": self.compare,
            "--dominated-by": self.dominated_by,
            "--dominating": self.dominating,
            "--seeds": self.seeds or None,
        }
        return [name for name, value in options.items() if value is not None]

    def check(self, where: Sequence[str]) -> None:
        """Refuse options that contradict each other."""
        if len(self.asked) > 1:
            raise QueryError(f"{' and '.join(self.asked)} ask different questions. Ask one at a time.")
        wishes = [f"--{word} {name}" for word, name in vars(self).items() if word in ("minimize", "maximize") and name]
        if len(wishes) > 1:
            raise QueryError(f"{' and '.join(wishes)} are two wishes. Leave one of them out, or put it into --at.")
        if wishes and self.at is None:
            raise QueryError(f'{wishes[0]} needs a condition: add --at, such as --at "accuracy >= 0.95".')
        if self.at is not None and not wishes:
            raise QueryError(
                f'--at "{self.at}" needs a wish: add --minimize or --maximize, such as --minimize breadth.'
            )
        if self.compare is not None and where:
            raise QueryError(
                f"--compare {self.compare} compares whole fronts, but got --where {where[0]!r}. Leave one of them out."
            )


def pareto(
    name: Name,
    task: TaskOption = None,
    where: WhereOption = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            metavar="NAME,NAME",
            help="Compare by these of the sweep's objectives. Default: all of them.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="CONDITION",
            help="With --minimize or --maximize: the best setting, of all complete ones, that meets this condition.",
        ),
    ] = None,
    minimize: Annotated[
        str | None, typer.Option("--minimize", metavar="NAME", help="What should be least, such as breadth.")
    ] = None,
    maximize: Annotated[
        str | None, typer.Option("--maximize", metavar="NAME", help="What should be most, such as accuracy.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="OTHER",
            help="Compare with the fronts of another sweep: hypervolume, coverage, settings gained and lost.",
        ),
    ] = None,
    dominated_by: Annotated[
        str | None,
        typer.Option("--dominated-by", metavar="KEY", help="List the settings that this network dominates."),
    ] = None,
    dominating: Annotated[
        str | None,
        typer.Option(
            "--dominators-of",
            "--dominating",
            metavar="KEY",
            help="List the settings that dominate this network: why it is not on the front.",
        ),
    ] = None,
    seeds: Annotated[
        bool,
        typer.Option("--seeds", help="Mean, standard deviation and number of replicates in every objective."),
    ] = False,
    format: FormatOption = "table",
    output: OutputOption = None,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the stored Pareto front, or ask about it. Everything is read from MLflow alone.

    A KEY is the key of a complete trial, or at least six characters of its beginning. --at, --dominated-by and
    --dominating ask about all complete settings, not the front alone. Exit code 2 where nothing is found.
    """
    from sweeper.cli import tables
    from sweeper.results import query
    from sweeper.results.loaded_sweep import load

    uri = tracking_of(name, home, tracking_uri)
    target = Target.of(format, as_json, output, "a front is")
    question = _Question(at, minimize, maximize, compare, dominated_by, dominating, seeds)
    question.check(where or ())
    chosen = _names(objectives)
    if question.asked:
        _answer(question, _Stored(uri, name, task, tuple(where or ()), chosen), target)
        return
    fronts = query.pareto(uri, name, task=task, where=where or (), objectives=chosen)
    if not fronts:
        raise _no_front(name)
    if where and not any(front.table.num_rows for front in fronts):
        from sweeper.results.questions import unmet

        whole = [front for front in query.pareto(uri, name, task=task, objectives=chosen) if front.table.num_rows]
        raise QueryError(unmet(whole, where)) if whole else _no_front(name)
    say_earlier(load(name, uri).earlier)
    target.give(
        Answered(
            lambda: query.exported(fronts),
            lambda: [query.front_sheet(front, where or ()) for front in fronts],
            lambda width: [tables.front_table(front, width, where or ()) for front in fronts],
        )
    )


def trials(
    name: Name,
    task: TaskOption = None,
    where: WhereOption = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the finished trials of a sweep, whatever their outcome, read from MLflow alone."""
    from sweeper.cli.sheet_table import listing
    from sweeper.results import query
    from sweeper.results.loaded_sweep import load

    uri = tracking_of(name, home, tracking_uri)
    target = Target.of(format, as_json, output, "trials are")
    sweep = load(name, uri)
    if not sweep.records:
        raise UnknownSweepError(
            f"sweep {name!r} has no finished trial yet. "
            f"Watch it with `sweeper status {name}`, or continue it with `sweeper resume {name}`."
        )
    say_earlier(sweep.earlier)
    table = sweep.trials(task, where=where or ())
    sheets = query.trial_sheets(sweep, table, where or ())
    target.give(
        Answered(
            lambda: query.named(table, name), lambda: sheets, lambda width: [listing(one, width) for one in sheets]
        )
    )


@dataclass(frozen=True)
class _Stored:
    """The subject of a question: a sweep, its task, conditions and objectives."""

    uri: str
    name: str
    task: str | None
    where: tuple[str, ...]
    objectives: tuple[str, ...]


def _answer(question: _Question, stored: _Stored, target: Target) -> None:
    """Answer a question for each task; refuse it if no task has an answer."""
    from sweeper.cli.sheet_table import listing
    from sweeper.results import questions
    from sweeper.results.loaded_sweep import load

    sweep = load(stored.name, stored.uri)
    answers = _answers(question, stored, sweep)
    if not answers:
        raise _no_front(stored.name)
    if not any(answer.is_found for answer in answers):
        raise QueryError("; ".join(f"sweep {stored.name!r}, task {a.front.task!r}: {a.says}" for a in answers))
    say_earlier(sweep.earlier)
    target.give(
        Answered(
            lambda: questions.as_table(answers),
            lambda: [answer.as_sheet() for answer in answers],
            lambda width: [listing(answer.as_sheet(), width) for answer in answers],
            document=[answer.as_json() for answer in answers],
        )
    )


def _answers(question: _Question, stored: _Stored, sweep: LoadedSweep) -> list[Answer]:
    from sweeper.measurements import Goal
    from sweeper.results import questions
    from sweeper.results.differences import compared
    from sweeper.results.loaded_sweep import load
    from sweeper.results.objectives import front_objectives

    names = front_objectives(sweep.objectives, stored.objectives, sweep.name)
    if question.compare is not None:
        other = load(checked(question.compare), stored.uri)
        return compared(sweep, other, stored.task, stored.objectives)
    key = question.dominated_by if question.dominated_by is not None else question.dominating
    if key is not None:
        record = questions.known_trial(sweep, key)
        if stored.task not in (None, record.task):
            raise QueryError(f"trial {record.key} is of task {record.task!r}, but got --task {stored.task}.")
        (front,) = sweep.fronts(record.task, names)
        is_by = question.dominated_by is not None
        return [questions.dominated(sweep, front, record, is_by=is_by, conditions=stored.where)]
    fronts = sweep.fronts(stored.task, names)
    if question.seeds:
        return [questions.spreads(sweep, front, stored.where) for front in fronts]
    goal = Goal.MINIMIZE if question.minimize is not None else Goal.MAXIMIZE
    wish = questions.Best(question.at or "", question.minimize or question.maximize or "", goal)
    return [questions.best(sweep, front, wish, stored.where) for front in fronts]


def _names(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise QueryError(f"--objectives takes names with commas between them, but got {text!r}: accuracy,time")
    return names


def _no_front(name: str) -> UnknownSweepError:
    return UnknownSweepError(
        f"sweep {name!r} has no front yet: no population of it has ended. "
        f"Watch it with `sweeper status {name}`, or continue it with `sweeper resume {name}`; where MLflow has "
        f"lost it, `sweeper mirror {name}` writes it again."
    )
