"""Members and windows of short trainings in tests, and comparisons of training states."""

from __future__ import annotations

from dataclasses import replace

import torch

from sweeper.model import Lattice, Pressures, Window, cut

MEMBERS = [Pressures(0.0, 0.0, 0.02, 0), Pressures(0.5, 0.0, 0.2, 1), Pressures(0.2, 2.0, 0.05, 2)]

#: Members without pressures, with pressures on space, with one on time, and with all.
UNEQUAL = [Pressures(0, 0, 0, 0), Pressures(0.02, 0.01, 0, 1), Pressures(0.001, 0, 20, 2), Pressures(0.3, 0.3, 1, 3)]


def window_for(task, time_selection="confidence", steps=3, bottom_up="within"):
    kind = {"halve": (2,), "time_selection": time_selection, "bottom_up": bottom_up}
    return Window((4, 3), steps, task.image, task.classes, **kind)


def start_for(task, time_selection="confidence", steps=2, bottom_up="within"):
    return replace(window_for(task, time_selection, steps, bottom_up), channels=(2,))


def weights_in(state, member):
    """Return a member's cut network from a training state, without dead and unreachable channels."""
    for shard in state["shards"]:
        if member in shard["members"]:
            lattice = Lattice(Window(**shard["window"]), shard["members"]).to(shard["lattice"]["readout_bias"])
            lattice.load_state_dict(shard["lattice"])
            return cut(lattice, shard["members"].index(member))
    raise AssertionError(f"member {member} is in no shard of the state")


def assert_equal_states(one, other):
    """Compare everything in two states to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_states(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal_states(a, b)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    else:
        assert one == other
