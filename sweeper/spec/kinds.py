"""Tells which kind of sweep a document describes: of lattices, or of a user's own function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sweeper.errors import SpecError
from sweeper.spec.function_sweep import FunctionSweep
from sweeper.spec.lattice_sweep import LatticeSweep
from sweeper.spec.problems import problems_of, spec_error
from sweeper.spec.setting import FUNCTION, present_names
from sweeper.spec.sweep_spec import SweepSpec


def kind_of(document: object) -> type[SweepSpec]:
    """Return the kind of sweep that a document describes: one that names a function is a sweep of that function."""
    return FunctionSweep if isinstance(document, Mapping) and FUNCTION in document else LatticeSweep


def spec_from_json(text: str) -> SweepSpec:
    """Return the spec that `SweepSpec.to_json` wrote.

    Raises:
        SpecError: If the text is not a spec.
    """
    origin, kind = "the stored spec", LatticeSweep
    try:
        document: Any = present_names(json.loads(text))
        return kind_of(document).model_validate(document, context={"is_stored": True})
    except ValidationError as error:
        raise spec_error(problems_of(error, kind), origin, None) from error
    except ValueError as error:
        raise SpecError(f"a stored spec must be JSON, but got {error} in {origin}. Plan the sweep again.") from error
