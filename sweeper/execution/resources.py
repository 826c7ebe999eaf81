"""Resources that a population requests and machines have, and whether a request can ever fit. Knows nothing of Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.errors import ClusterError

#: Largest number of machines that an error names one by one.
_MOST_NAMED = 8

#: Tolerance for sums of fractional resources, which Ray counts in ten-thousandths.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Request:
    """Resources that a population asks for.

    Attributes:
        cpus, gpus: Numbers of CPUs and GPUs; may be fractions.
        memory_bytes: Memory to reserve; 0 reserves none.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0

    def __str__(self) -> str:
        parts = [_counted(self.cpus, "CPU")]
        if self.gpus:
            parts.append(_counted(self.gpus, "GPU"))
        if self.memory_bytes:
            parts.append(f"{_gib(self.memory_bytes)} of memory")
        return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]

    def at_once(self, has: Resources) -> int:
        """Return how many populations these resources hold side by side."""
        pairs = ((self.cpus, has.cpus), (self.gpus, has.gpus), (self.memory_bytes, has.memory_bytes))
        return min(math.floor(there / wanted + _ROUNDING) for wanted, there in pairs if wanted)


#: The default request of a population.
ONE_CPU = Request()


@dataclass(frozen=True)
class Resources:
    """Resources of a machine or cluster, in the terms of a request."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0

    def __str__(self) -> str:
        return f"{_counted(self.cpus, 'CPU')}, {_counted(self.gpus, 'GPU')}, {_gib(self.memory_bytes)}"


@dataclass(frozen=True)
class Node:
    """A machine, or a kind of machine that an autoscaler could start.

    Attributes:
        name: Address of the machine, or name of the kind.
        has: All its resources, including those in use.
        problem: Why no population can be trained there; empty if nothing is wrong, or it was not checked.
        gpu_problem: Why torch cannot use its GPUs; empty if it can, or it was not checked.
        count: Number of such machines that exist or could be started.
        id: Tells the machine from others of the same name.
    """

    name: str
    has: Resources
    problem: str = ""
    gpu_problem: str = ""
    count: int = 1
    id: str = ""


@dataclass(frozen=True)
class Machines:
    """The machines that populations can be placed on.

    Attributes:
        nodes: Nodes that exist.
        startable: Kinds of nodes that an autoscaler could start, if known.
        has_autoscaler: Whether other nodes may come later, possibly of unknown kinds.
        is_cluster: Whether a cluster reserves requested resources, memory included.
    """

    nodes: Sequence[Node] = ()
    startable: Sequence[Node] = ()
    has_autoscaler: bool = False
    is_cluster: bool = False

    @property
    def has_usable_gpu(self) -> bool:
        """Whether any node or kind of node has a GPU without a known problem."""
        return any(node.has.gpus and not node.gpu_problem for node in (*self.nodes, *self.startable))

    def fitting(self, request: Request) -> list[Node]:
        """Return the nodes and kinds of nodes that hold the request if nobody else uses them."""
        return [node for node in (*self.nodes, *self.startable) if request.at_once(node.has)]

    def at_once(self, request: Request) -> int:
        """Return how many populations can be trained at a time once an autoscaler has started all that it may."""
        here, later = (sum(request.at_once(n.has) * n.count for n in them) for them in (self.nodes, self.startable))
        return max(here, later)

    def smallest(self, request: Request) -> Node | None:
        """Return the node with the least memory of those that hold the request."""
        return min(self.fitting(request), key=lambda node: node.has.memory_bytes, default=None)

    def refuse_what_never_fits(self, request: Request) -> None:
        """Check that the request can ever be satisfied.

        Raises:
            ClusterError: If not; names the request and the machines.
        """
        if self.fitting(request) or (self.has_autoscaler and not self.startable):
            return
        nodes, where = [*self.nodes, *self.startable], "node of the cluster" if self.is_cluster else "machine"
        found = "; ".join(f"{_named(node)} has {node.has}" for node in nodes[:_MOST_NAMED]) or "it has no node"
        more = f"; and {len(nodes) - _MOST_NAMED} more" if len(nodes) > _MOST_NAMED else ""
        raise ClusterError(
            f"a population asks for {request}, and no {where} can ever give it that: {found}{more}. "
            f"{self._way_out(request)}"
        )

    def _way_out(self, request: Request) -> str:
        most = Resources(
            max((n.has.cpus for n in self.nodes), default=0.0),
            max((n.has.gpus for n in self.nodes), default=0.0),
            max((n.has.memory_bytes for n in self.nodes), default=0),
        )
        asked = [
            ("placement.cpus", request.cpus > most.cpus),
            ("placement.gpus", request.gpus > most.gpus),
            ("placement.memory_mib, or a smaller placement.population", request.memory_bytes > most.memory_bytes),
        ]
        lower = " and ".join(name for name, is_more in asked if is_more) or "one of placement.cpus, gpus and memory_mib"
        start = " or start a node that has it with `ray start`" if self.is_cluster else " or use a larger machine"
        return f"Use a lower {lower},{start}."

    def refuse_problems(self, request: Request) -> None:
        """Check that the nodes that would train have no problems.

        Raises:
            ClusterError: If a node has one; names each such node and its problem.
        """
        problems = [
            (node, node.problem or node.gpu_problem)
            for node in self.nodes
            if request.at_once(node.has) and (node.problem or (request.gpus and node.gpu_problem))
        ]
        if not problems:
            return
        said = "\n".join(f"  {node.name}: {problem}" for node, problem in problems[:_MOST_NAMED])
        more = f"\n  and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        raise ClusterError(
            f"{len(problems)} of {len(self.nodes)} nodes of the cluster cannot train this sweep, and nothing was "
            f"started:\n{said}{more}\nMend them, or take them out of the cluster."
        )


@dataclass(frozen=True)
class SharedCode:
    """A user's own function, as every node must find it.

    Attributes:
        source: Name of the function, such as `exits:train`.
        folder: Folder that is searched for its module first.
        files: Expected hashes of its code's files; see `own_code`.
    """

    source: str
    folder: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Shared:
    """Everything that each node must find just as the driver does.

    Attributes:
        folder: Location of the folder for checkpoints and networks.
        files: Sizes in bytes of files that training reads, by path.
        software: Versions, by name.
        imports: Modules that training begins with.
        code: The user's own function; None if there is none.
    """

    folder: str = ""
    files: Mapping[str, int] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    imports: Sequence[str] = ()
    code: SharedCode | None = None


@dataclass(frozen=True)
class Seen:
    """A cluster at one moment.

    Attributes:
        nodes: Nodes that are alive.
        free: Unused resources of all nodes together.
    """

    nodes: Sequence[Node] = ()
    free: Resources = Resources()

    def at_once(self, request: Request) -> int:
        """Return how many populations the nodes hold at a time."""
        return sum(request.at_once(node.has) for node in self.nodes)


def _named(node: Node) -> str:
    return node.name if node.count == 1 else f"each of {node.count} {node.name}"


def _counted(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if 0 < number <= 1 else 's'}"


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
