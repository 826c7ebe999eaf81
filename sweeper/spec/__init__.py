"""Reads a YAML file, or a mapping, into one frozen `SweepSpec`.

This package checks every rule about a spec once, with messages in the file's own words. Code that holds a `SweepSpec`
need not check it again.

May import: the ground floor alone. Owns pydantic and yaml.
Must not know: how settings are searched, placed, trained or stored.
"""

from sweeper.spec.changes import differences, placement_changes, refused_differences
from sweeper.spec.choices import (
    BottomUp,
    Connections,
    DegradationKind,
    Distribution,
    Sampler,
    Solver,
    Standardize,
    TimeSelection,
    WindowKind,
)
from sweeper.spec.function_setting import FunctionSetting
from sweeper.spec.function_sweep import FunctionSweep
from sweeper.spec.images import colour_of, sides_of
from sweeper.spec.kinds import spec_from_json
from sweeper.spec.lattice_sweep import LatticeSweep
from sweeper.spec.load import LoadedSpec, load_spec, shipped_spaces
from sweeper.spec.own_parts import OwnMeasure
from sweeper.spec.parameters import Parameter
from sweeper.spec.search_spec import EarlyStopping, PlacementSpec, Retries, SearchSpec
from sweeper.spec.setting import (
    DIGITS,
    ROUND_UPDATES,
    LatticeSetting,
    LatticeSpec,
    PressuresSpec,
    Scalar,
    Setting,
    TaskSpec,
    TrainingSpec,
    in_full,
    keys_of,
    labels_of,
)
from sweeper.spec.settings import setting_of
from sweeper.spec.sweep_spec import SweepSpec, check_name
from sweeper.spec.yaml_source import read_yaml

__all__ = [
    "DIGITS",
    "ROUND_UPDATES",
    "BottomUp",
    "Connections",
    "DegradationKind",
    "Distribution",
    "EarlyStopping",
    "FunctionSetting",
    "FunctionSweep",
    "LatticeSetting",
    "LatticeSpec",
    "LatticeSweep",
    "LoadedSpec",
    "OwnMeasure",
    "Parameter",
    "PlacementSpec",
    "PressuresSpec",
    "Retries",
    "Sampler",
    "Scalar",
    "SearchSpec",
    "Setting",
    "Solver",
    "Standardize",
    "SweepSpec",
    "TaskSpec",
    "TimeSelection",
    "TrainingSpec",
    "WindowKind",
    "check_name",
    "colour_of",
    "differences",
    "in_full",
    "keys_of",
    "labels_of",
    "load_spec",
    "placement_changes",
    "read_yaml",
    "refused_differences",
    "setting_of",
    "shipped_spaces",
    "sides_of",
    "spec_from_json",
]
