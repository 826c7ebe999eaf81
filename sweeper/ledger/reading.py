"""The ledger for readers: what was planned, and the state of every trial. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from sweeper import own_code
from sweeper.errors import UnknownSweepError
from sweeper.ledger.again import newest
from sweeper.ledger.counts import Counts, count
from sweeper.ledger.damage import understood
from sweeper.ledger.revision import Revision
from sweeper.ledger.rows import Row, Source, StoredTrial, record_of, row_of
from sweeper.rules import RULES, rules_in
from sweeper.spec import LoadedSpec, SweepSpec
from sweeper.trial import TrialRecord


class LedgerReader:
    """The ledger of one sweep, for reading.

    Args:
        sweep: Name of the sweep.
        source: Source of the rows.
    """

    def __init__(self, sweep: str, source: Source) -> None:
        self.sweep = sweep
        self._studies = source

    def close(self) -> None:
        """Close the storage; a driver also releases the sweep."""
        self._studies.close()

    @property
    def identity(self) -> str:
        """Identity that tells this sweep from others of its name; empty before it is planned."""
        return self.facts.get("identity", "")

    @property
    def driver(self) -> str | None:
        """Description of this sweep's driver, if its storage knows one; a file never does."""
        return self._studies.driver

    @property
    def revisions(self) -> list[Revision]:
        """Every spec that this sweep was planned from, the first one first; empty if no plan was begun."""
        # Every study carries all revisions, but after a crash during planning one study may have more than another.
        noted = [self._studies.noted(task).get("revisions", []) for task in self._studies.tasks]
        with understood(self.sweep, "the spec that it was planned from"):
            return [Revision.from_values(values) for values in max(noted, key=len, default=[])]

    @property
    def code(self) -> dict[str, str]:
        """Hashes of the files of the user's own code that was accepted last, by path; empty if there is none."""
        facts = [revision.facts for revision in self.revisions if own_code.FILES in revision.facts]
        return own_code.files_in(facts[-1]) if facts else {}

    @property
    def planned_spec(self) -> LoadedSpec | None:
        """The spec that this sweep was last planned from; None if no plan was begun."""
        revisions = self.revisions
        return revisions[-1].loaded if revisions else None

    @property
    def spec(self) -> SweepSpec:
        """The spec that this sweep was last planned from.

        Raises:
            UnknownSweepError: If the sweep was never planned.
        """
        planned = self.planned_spec
        if planned is None:
            raise UnknownSweepError(
                f"sweep {self.sweep!r} was never planned to the end. Start it again with `sweeper run`."
            )
        return planned.spec

    @property
    def facts(self) -> Mapping[str, str]:
        """Facts noted for the whole sweep at each planning; empty before. An earlier revision's fact wins."""
        facts: dict[str, str] = {}
        for revision in self.revisions:
            facts = {**revision.facts, **facts}
        return facts

    @property
    def rules(self) -> int:
        """Number of the rules that the trials are trained and measured by; today's if nothing is planned."""
        return rules_in(self.facts) if self.revisions else RULES

    def records(self, task: str | None = None) -> list[TrialRecord]:
        """Return the newest attempt of every trial, in plan order, of all tasks or of one."""
        tasks = self._studies.tasks if task is None else [task]
        return [self._record(name, trial) for name in tasks for trial in self._newest(name)]

    def _newest(self, task: str) -> list[StoredTrial]:
        trials = self._studies.trials(task)
        with understood(self.sweep, f"the plan of a row of task {task!r}"):
            return newest(trials)

    def _record(self, task: str, trial: StoredTrial) -> TrialRecord:
        with understood(self.sweep, f"row {trial.number} of task {task!r}"):
            return record_of(self.sweep, task, trial, self._planned_now)

    @cached_property
    def _planned_now(self) -> SweepSpec | None:
        """The spec that rows are read with. Any revision will do: a spec with other objectives or units is refused."""
        planned = self.planned_spec
        return planned.spec if planned else None

    def require_knowledge(self) -> None:
        """Check the sampler's settings from other sweeps, which only a driver reads.

        Raises:
            HomeError: If they are damaged.
        """
        for task in self._studies.tasks:
            with understood(self.sweep, f"what the sampler of {task!r} was told"):
                told = self._studies.noted(task).get("knowledge", {})
                if not isinstance(told, dict) or not all(isinstance(its, list) for its in told.values()):
                    raise ValueError("it is no list of settings by cell")

    def counts(self) -> Counts:
        """Return how many trials are in which state."""
        planned = self.planned_spec
        return count(self.records(), planned.spec.planned if planned else 0)

    def rows(self) -> list[Row]:
        """Return every row as it stands, including rows that nothing else shows, such as former attempts."""
        return [
            row_of(self.sweep, task, trial) for task in self._studies.tasks for trial in self._studies.all_trials(task)
        ]
