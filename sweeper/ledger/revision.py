"""The specs that a sweep was planned from: the first one, and one for each time that the spec grew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sweeper.spec import LoadedSpec, SweepSpec, spec_from_json


@dataclass(frozen=True)
class Revision:
    """A spec as it was planned, with the facts of that time.

    Attributes:
        loaded: The spec.
        population_size: Largest number of networks trained side by side, for the settings that this revision added.
        facts: Short texts by name: identity, versions, data hashes.
    """

    loaded: LoadedSpec
    population_size: int
    facts: Mapping[str, str]

    @property
    def spec(self) -> SweepSpec:
        """The spec."""
        return self.loaded.spec

    def to_values(self) -> dict[str, Any]:
        """Return the revision as plain values, which `from_values` reads."""
        return {
            "spec": self.spec.to_json(),
            "text": self.loaded.text,
            "path": str(self.loaded.path),
            "population_size": self.population_size,
            "facts": dict(self.facts),
            **({"folder": self.loaded.folder} if self.loaded.folder else {}),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the revision that `to_values` wrote.

        Raises:
            SpecError: If its spec is invalid.
        """
        spec = spec_from_json(values["spec"])
        loaded = LoadedSpec(spec, values["text"], Path(values["path"]), values.get("folder", ""))
        return cls(loaded, values["population_size"], values["facts"])
