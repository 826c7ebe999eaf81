"""What a sweep was planned from, each time that its spec grew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sweeper.spec import LoadedSpec, SweepSpec, spec_from_json


@dataclass(frozen=True)
class Revision:
    """A spec as it was planned, and with what.

    Attributes:
        loaded: The spec.
        population_size: Networks trained side by side, at most, of the settings that this revision added.
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
        """Return it as plain values, which `from_values` reads."""
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
        """Return what `to_values` wrote.

        Raises:
            SpecError: If the spec in it is none.
        """
        spec = spec_from_json(values["spec"])
        loaded = LoadedSpec(spec, values["text"], Path(values["path"]), values.get("folder", ""))
        return cls(loaded, values["population_size"], values["facts"])
