"""Owns walking the graph of dependencies. Pure: edges are handed in, level by level."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_DEPTH = 20
MAX_NODES = 10_000


class Direction(StrEnum):
    """Which way to walk from a service."""

    UPSTREAM = "upstream"
    """What the service depends on."""
    DOWNSTREAM = "downstream"
    """What depends on the service."""


@dataclass(frozen=True, slots=True)
class Node:
    """An end: a service (`id` is its id), a name not resolved, or an external thing."""

    key: str
    form: str
    name: str


@dataclass(frozen=True, slots=True)
class Edge:
    """One declared dependency between two ends."""

    dependency: str
    from_: Node
    to: Node
    kind: str
    criticality: str | None


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk reached, nearest first; truncated when there was more than it may hold."""

    reached: Sequence["Reached"]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Reached:
    """A node, the fewest steps to it, and the edge by which it was first reached."""

    node: Node
    depth: int
    through: Edge


NextEdges = Callable[[Collection[Node]], Awaitable[Sequence[Edge]]]
"""The edges that leave these nodes in the direction of the walk."""


async def reach(
    start: Node,
    direction: Direction,
    depth: int,
    next_edges: NextEdges,
    max_nodes: int = MAX_NODES,
) -> Walk:
    """Walk breadth first to `depth` steps at most; cycles are walked once, the start is left out.

    In each level nodes are in the order of their names, so equal graphs give equal answers, and
    the same ones are left out where there are more than `max_nodes`.
    """
    seen = {start.key}
    frontier, reached = [start], list[Reached]()
    for level in range(1, depth + 1):
        if not frontier:
            break
        found = [
            Reached(node, level, edge)
            for edge in await next_edges(frontier)
            for node in [edge.to if direction is Direction.UPSTREAM else edge.from_]
        ]
        found.sort(key=lambda one: (one.node.name, one.node.key, one.through.dependency))
        frontier = []
        for one in found:
            if one.node.key in seen:
                continue
            if len(reached) == max_nodes:
                return Walk(reached, truncated=True)
            seen.add(one.node.key)
            frontier.append(one.node)
            reached.append(one)
    return Walk(reached, truncated=False)
