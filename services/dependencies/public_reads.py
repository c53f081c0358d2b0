"""Owns what the dependencies service tells callers without a key: what binds public services.

Must not show a dependency unless both its ends are services that are public.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from services.dependencies.graph import Direction, Edge, Node, reach
from services.dependencies.queries import DependencyListQuery, ReachQuery
from services.dependencies.read_models.edges import (
    edges_of,
    find_dependency,
    find_service,
    next_edges,
    page_of_public_dependencies,
)
from services.dependencies.read_models.summary import edge_json, node_json, reached_json
from shared.http.routes import Call, Reply
from shared.reads.public import nothing_public, public_among
from shared.reads.reading import Asked, MomentQuery, Reads

_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class PublicReads:
    """The answers to callers without a key."""

    reads: Reads

    async def upstream(self, call: Call[None, ReachQuery]) -> Reply:
        """Which public services a public service depends on."""
        return await self._walk(call, Direction.UPSTREAM)

    async def downstream(self, call: Call[None, ReachQuery]) -> Reply:
        """Which public services depend on a public service."""
        return await self._walk(call, Direction.DOWNSTREAM)

    async def listing(self, call: Call[None, DependencyListQuery]) -> Reply:
        """Which dependencies between public services are declared."""
        query = call.query
        async with self.reads.ask(call) as asked:
            found = await _listed(asked, query)
            page = found[: query.limit]
            last = page[-1].dependency if len(found) > query.limit else None
            return Reply(body=self.reads.page(asked, [edge_json(edge) for edge in page], last))

    async def one(self, call: Call[None, MomentQuery]) -> Reply:
        """What a dependency between public services is."""
        async with self.reads.ask(call) as asked:
            subject = await find_dependency(asked.connection, call.path["dependency"])
            named = [] if subject is None else [subject]
            edges = await edges_of(asked.connection, named, asked.moment)
            for edge in await _public(asked, edges):
                return Reply(body=asked.answer(edge_json(edge)))
            raise nothing_public()

    async def _walk(self, call: Call[None, ReachQuery], direction: Direction) -> Reply:
        async with self.reads.ask(call) as asked:
            start = await _start(asked, call.path["service"])

            async def step(nodes: Collection[Node]) -> Sequence[Edge]:
                return await _leaving(asked, nodes, direction)

            walk = await reach(start, direction, call.query.depth, step)
            items = [reached_json(one) for one in walk.reached]
            document = {"start": node_json(start), "items": items, "truncated": walk.truncated}
            return Reply(body=asked.answer(document))


async def _start(asked: Asked, reference: str) -> Node:
    node, _ever = await find_service(asked.connection, reference, asked.moment)
    if node is None or node.key not in await public_among(asked, [node.key]):
        raise nothing_public()
    return node


async def _leaving(asked: Asked, nodes: Collection[Node], direction: Direction) -> list[Edge]:
    edges = await next_edges(asked.connection, nodes, direction, asked.moment)
    return await _public(asked, edges)


async def _listed(asked: Asked, query: DependencyListQuery) -> list[Edge]:
    """More than `limit` dependencies between the ends asked for, if there are more."""
    from_ = None if query.from_ is None else await _start(asked, query.from_)
    to = None if query.to is None else await _start(asked, query.to)
    if from_ is not None:
        edges = await _leaving(asked, [from_], Direction.UPSTREAM)
    elif to is not None:
        edges = await _leaving(asked, [to], Direction.DOWNSTREAM)
    else:
        return await _listed_all(asked, query.limit)
    return [
        edge
        for edge in edges
        if edge.dependency > asked.after and (to is None or edge.to.key == to.key)
    ]


async def _listed_all(asked: Asked, limit: int) -> list[Edge]:
    """More than `limit` dependencies, if there are more."""
    found = list[Edge]()
    after, more = asked.after, True
    while more and len(found) <= limit:
        ids = await page_of_public_dependencies(asked.connection, after, _AT_ONCE)
        found += await _public(asked, await edges_of(asked.connection, ids, asked.moment))
        more = len(ids) == _AT_ONCE
        after = ids[-1] if more else after
    return found


async def _public(asked: Asked, edges: Sequence[Edge]) -> list[Edge]:
    """Those whose ends are both public services; no other end has the id of one."""
    seen = await public_among(asked, {end.key for edge in edges for end in (edge.from_, edge.to)})
    return [edge for edge in edges if edge.from_.key in seen and edge.to.key in seen]
