"""Owns the read routes of the dependencies service: who may ask what, and in which words.

Must not hold a query; those are in read_models and graph.
"""

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import Field

from services.dependencies import answers
from services.dependencies.graph import Direction, Edge, Node, reach
from services.dependencies.public_reads import PublicReads
from services.dependencies.queries import DependencyListQuery, ReachQuery, UnresolvedQuery
from services.dependencies.read_models.edges import (
    Ends,
    all_edges,
    edges_of,
    find_dependency,
    find_external,
    find_service,
    next_edges,
    page_of_edges,
)
from services.dependencies.read_models.projection import LOG
from services.dependencies.read_models.summary import (
    edge_json,
    node_json,
    reached_json,
    summarise,
    unresolved,
)
from shared.eventstore.reader import LogReader
from shared.http.problems import NOT_FOUND, NOT_KNOWN_THEN, Problem
from shared.http.routes import Call, Reply, Route
from shared.reads.reading import Asked, MomentQuery, Reads, first_or_not_known
from shared.reads.routes import log_route, read_route
from shared.reads.version import versioned


class SummaryQuery(MomentQuery):
    """How many of the most depended upon to answer."""

    limit: Annotated[int, Field(ge=1, le=200)] = 10


def read_routes(reads: Reads, reader: LogReader) -> tuple[Route, ...]:
    """Every question that the dependencies service answers."""
    return (
        *_reach_routes(reads),
        *_map_routes(reads),
        *_dependency_routes(reads),
        log_route(reader),
    )


def _reach_routes(reads: Reads) -> tuple[Route, ...]:
    async def answer(call: Call[None, ReachQuery], direction: Direction) -> Reply:
        async with reads.ask(call) as asked:
            start = await _start(asked, call.path["service"])

            async def step(nodes: Collection[Node]) -> Sequence[Edge]:
                return await next_edges(asked.connection, nodes, direction, asked.moment)

            walk = await reach(start, direction, call.query.depth, step)
            items = [reached_json(one) for one in walk.reached]
            document = {"start": node_json(start), "items": items, "truncated": walk.truncated}
            return Reply(body=asked.answer(document))

    async def upstream(call: Call[None, ReachQuery]) -> Reply:
        return await answer(call, Direction.UPSTREAM)

    async def downstream(call: Call[None, ReachQuery]) -> Reply:
        return await answer(call, Direction.DOWNSTREAM)

    public = PublicReads(reads)
    return (
        read_route(
            "/v1/services/{service}/upstream",
            upstream,
            "get_upstream",
            "What a service depends on, to a depth",
            ReachQuery,
            answers.REACH,
            public=public.upstream,
        ),
        read_route(
            "/v1/services/{service}/downstream",
            downstream,
            "get_downstream",
            "What depends on a service, to a depth",
            ReachQuery,
            answers.REACH,
            public=public.downstream,
        ),
    )


def _map_routes(reads: Reads) -> tuple[Route, ...]:
    async def whole(call: Call[None, SummaryQuery]) -> Reply:
        async with reads.ask(call) as asked:
            edges = await all_edges(asked.connection, asked.moment)
            return Reply(body=asked.answer(summarise(edges, call.query.limit)))

    async def open_ends(call: Call[None, UnresolvedQuery]) -> Reply:
        limit = call.query.limit
        async with reads.ask(call) as asked:
            names = unresolved(await all_edges(asked.connection, asked.moment))
            found = [one for one in names if one["name"] > asked.after]
            last = found[limit - 1]["name"] if len(found) > limit else None
            page = reads.page(asked, found[:limit], last)
            return Reply(body={"count": len(names), **page})

    return (
        read_route(
            "/v1/summary", whole, "get_summary", "How the map stands", SummaryQuery, answers.SUMMARY
        ),
        read_route(
            "/v1/unresolved",
            open_ends,
            "list_unresolved",
            "Names used as ends that no registered service answers to",
            UnresolvedQuery,
            answers.UNRESOLVED,
        ),
    )


def _dependency_routes(reads: Reads) -> tuple[Route, ...]:
    async def listing(call: Call[None, DependencyListQuery]) -> Reply:
        query = call.query
        async with reads.ask(call) as asked:
            between = await _ends(asked, query)
            found = await page_of_edges(
                asked.connection, between, asked.after, query.limit + 1, asked.moment
            )
            page = found[: query.limit]
            last = page[-1].dependency if len(found) > query.limit else None
            return Reply(body=reads.page(asked, [edge_json(edge) for edge in page], last))

    async def one(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call) as asked:
            subject = await find_dependency(asked.connection, call.path["dependency"])
            if subject is None:
                raise Problem(NOT_FOUND)
            edges = await edges_of(asked.connection, [subject], asked.moment)
            document = first_or_not_known([edge_json(edge) for edge in edges])
            return await versioned(asked, LOG, f"dependency-{subject}", document)

    public = PublicReads(reads)
    return (
        read_route(
            "/v1/dependencies",
            listing,
            "list_dependencies",
            "Which dependencies are declared",
            DependencyListQuery,
            answers.DEPENDENCIES,
            public=public.listing,
        ),
        read_route(
            "/v1/dependencies/{dependency}",
            one,
            "get_dependency",
            "What a dependency is",
            MomentQuery,
            answers.ONE_DEPENDENCY,
            public=public.one,
        ),
    )


async def _start(asked: Asked, reference: str) -> Node:
    """The service to walk from; a name that only dependencies use is one too."""
    node, ever = await find_service(asked.connection, reference, asked.moment)
    if node is None:
        raise Problem(NOT_KNOWN_THEN if ever else NOT_FOUND)
    return node


async def _ends(asked: Asked, query: DependencyListQuery) -> Ends:
    """The ends that a list is narrowed to; `to` may name a service, something external, or both."""
    from_ = None if query.from_ is None else await _start(asked, query.from_)
    if query.to is None:
        return Ends(from_)
    to, ever = await find_service(asked.connection, query.to, asked.moment)
    is_external, was_external = await find_external(asked.connection, query.to, asked.moment)
    if to is None and not is_external:
        raise Problem(NOT_KNOWN_THEN if ever or was_external else NOT_FOUND)
    return Ends(from_, to, query.to if is_external else None)
