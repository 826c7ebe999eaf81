"""Settings of either kind, from their flat form."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.spec.function_setting import FunctionSetting
from sweeper.spec.setting import FUNCTION, LatticeSetting, Scalar, Setting


def setting_of(flat: Mapping[str, Scalar]) -> Setting:
    """Return the setting that `flat` was made from.

    Raises:
        SpecError: If a name is unknown or a value breaks a rule.
    """
    kind = FunctionSetting if FUNCTION in flat else LatticeSetting
    return kind.from_flat(flat)
