"""From a YAML file, or a mapping, to one frozen `SweepSpec`.

Every rule about a spec is checked here, once, in the file's own words: whoever holds a `SweepSpec` need not check it.

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
from sweeper.spec.images import colour_of, sides_of
from sweeper.spec.load import LoadedSpec, load_spec, shipped_spaces
from sweeper.spec.parameters import Parameter
from sweeper.spec.search_spec import EarlyStopping, PlacementSpec, Retries, SearchSpec
from sweeper.spec.setting import (
    DIGITS,
    ROUND_UPDATES,
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
from sweeper.spec.sweep_spec import SweepSpec, check_name, place_of
from sweeper.spec.yaml_source import read_yaml

__all__ = [
    "DIGITS",
    "ROUND_UPDATES",
    "BottomUp",
    "Connections",
    "DegradationKind",
    "Distribution",
    "EarlyStopping",
    "LatticeSpec",
    "LoadedSpec",
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
    "place_of",
    "placement_changes",
    "read_yaml",
    "refused_differences",
    "shipped_spaces",
    "sides_of",
]
