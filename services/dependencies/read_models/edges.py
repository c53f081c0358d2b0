"""Owns reading edges: by their ends, by page, one by one, with their ends resolved at a moment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from services.dependencies.graph import Direction, Edge, Node
from shared.contracts.names import is_id
from shared.projections.facts import facts_at
from shared.projections.projection import Connection
from shared.reads.moment import Moment

_COLUMNS: Final = """
SELECT e.subject, e.from_name, e.to_name, e.external, e.external_kind, e.kind, e.criticality,
    service_of(e.from_name, $1, $2, $3, $4) AS from_service,
    service_of(e.to_name, $1, $2, $3, $4) AS to_service
"""
_OF: Final = _COLUMNS + "FROM edges_at($1, $2, $3, $4, $5) AS e ORDER BY e.subject"
_NAMES_OF: Final = "SELECT name FROM names WHERE category = 'service' AND subject = ANY($1)"
_LEAVING: Final = "SELECT DISTINCT dependency FROM ends WHERE from_name = ANY($1)"
_ARRIVING: Final = """
SELECT DISTINCT dependency FROM ends WHERE to_name = ANY($1) OR external = ANY($2)
"""
# $5 behind, $6 how many; of the dependent, and of what it depends on, $7 and $9 are every name,
# $8 and $10 the key; $11 is the name of something external. NULL: whichever.
_NAMED: Final = """
($7::text[] IS NULL OR from_name = ANY($7))
AND ($9::text[] IS NULL OR to_name = ANY($9) OR external = $11)
"""
_BETWEEN: Final = """
($8::text IS NULL OR coalesce(service_of(e.from_name, $1, $2, $3, $4), e.from_name) = $8)
AND (
    $9::text[] IS NULL OR e.external = $11
    OR coalesce(service_of(e.to_name, $1, $2, $3, $4), e.to_name) = $10
)
"""
_PRESENT_PAGE: Final = f"""
{_COLUMNS} FROM edges AS e WHERE e.subject > $5 AND {_NAMED} AND {_BETWEEN}
ORDER BY e.subject LIMIT $6
"""
_PAGE_THEN: Final = f"""
{_COLUMNS}
FROM (SELECT DISTINCT dependency FROM ends WHERE dependency > $5 AND {_NAMED}) AS d
CROSS JOIN LATERAL edges_at($1, $2, $3, $4, ARRAY[d.dependency]) AS e
WHERE {_BETWEEN}
ORDER BY d.dependency LIMIT $6
"""  # noqa: S608 - all parts are static text.
_PUBLIC_PAGE: Final = """
WITH seen AS (
    SELECT n.name FROM names AS n
    WHERE n.category = 'service'
        AND n.subject IN (SELECT subjects_ever('visibility', '"public"'))
)
SELECT DISTINCT dependency FROM ends
WHERE dependency > $1
    AND from_name IN (SELECT name FROM seen) AND to_name IN (SELECT name FROM seen)
ORDER BY dependency LIMIT $2
"""
_SERVICE_OF: Final = "SELECT service_of($1, $2, $3, $4, $5)"
_USED: Final = """
SELECT EXISTS (SELECT FROM states_at(
    ARRAY(SELECT dependency FROM ends WHERE from_name = $1 OR to_name = $1), $2, $3, $4, $5
))
"""
_USED_EXTERNAL: Final = """
SELECT EXISTS (SELECT FROM states_at(
    ARRAY(SELECT dependency FROM ends WHERE external = $1), $2, $3, $4, $5
))
"""
_EVER: Final = """
SELECT EXISTS (SELECT FROM names WHERE category = 'service' AND name = $1)
    OR EXISTS (SELECT FROM ends WHERE from_name = $1 OR to_name = $1)
"""
_EVER_EXTERNAL: Final = "SELECT EXISTS (SELECT FROM ends WHERE external = $1)"
# Asked of the log, which knows even what was redacted.
_EXISTS: Final = "SELECT EXISTS (SELECT FROM log.events WHERE stream = $1)"
_BY_ALIAS: Final = "SELECT stream FROM log.claims WHERE kind = 'dependency.alias' AND value = $1"
_DECLARED: Final = """
WITH e AS (
    SELECT * FROM edges WHERE $5
    UNION ALL
    SELECT * FROM edges_at($1, $2, $3, $4) WHERE NOT $5
)
"""
_ALL: Final = _DECLARED + _COLUMNS + "FROM e ORDER BY e.subject"


async def edges_of(
    connection: Connection, dependencies: Sequence[str], moment: Moment
) -> list[Edge]:
    """The edges of these dependencies that are declared at the moment."""
    arguments = (moment.as_of, *moment.known.arguments())
    rows = await connection.fetch(_OF, *arguments, list(dependencies))
    return await _edges(connection, rows, moment)


async def all_edges(connection: Connection, moment: Moment) -> list[Edge]:
    """Every edge declared at the moment."""
    arguments = (moment.as_of, *moment.known.arguments())
    rows = await connection.fetch(_ALL, *arguments, moment.is_present)
    return await _edges(connection, rows, moment)


async def next_edges(
    connection: Connection, nodes: Collection[Node], direction: Direction, moment: Moment
) -> list[Edge]:
    """The edges that leave these nodes in the direction of a walk."""
    names = await _names_of(connection, nodes)
    if direction is Direction.UPSTREAM:
        rows = await connection.fetch(_LEAVING, names)
    else:
        external = [node.name for node in nodes if node.form not in {"service", "unresolved"}]
        rows = await connection.fetch(_ARRIVING, names, external)
    edges = await edges_of(connection, [row["dependency"] for row in rows], moment)
    keys = {node.key for node in nodes}
    near = "from_" if direction is Direction.UPSTREAM else "to"
    return [edge for edge in edges if getattr(edge, near).key in keys]


async def find_service(
    connection: Connection, reference: str, moment: Moment
) -> tuple[Node | None, bool]:
    """The end that a reference means at the moment, and whether it was ever known.

    A name that no registered service answers to, but dependencies use, is an unresolved end.
    """
    arguments = (moment.as_of, *moment.known.arguments())
    service = await connection.fetchval(_SERVICE_OF, reference, *arguments)
    if service is not None:
        states = await facts_at(connection, [service], moment.as_of, moment.known)
        name = states[service]["name"].value if service in states else reference
        return Node(service, "service", name), True
    if await connection.fetchval(_USED, reference, *arguments):
        return Node(reference, "unresolved", reference), True
    return None, await connection.fetchval(_EVER, reference)


async def find_dependency(connection: Connection, reference: str) -> str | None:
    """The id behind an id or alias, whenever it was declared; None when nothing answers to it."""
    if is_id(reference, "dep"):
        exists = await connection.fetchval(_EXISTS, f"dependency-{reference}")
        return reference if exists else None
    stream = await connection.fetchval(_BY_ALIAS, reference)
    return None if stream is None else str(stream).removeprefix("dependency-")


async def find_external(connection: Connection, name: str, moment: Moment) -> tuple[bool, bool]:
    """Whether something outside the registry is known by a name at the moment, and ever."""
    arguments = (moment.as_of, *moment.known.arguments())
    if await connection.fetchval(_USED_EXTERNAL, name, *arguments):
        return True, True
    return False, await connection.fetchval(_EVER_EXTERNAL, name)


@dataclass(frozen=True, slots=True)
class Ends:
    """Between what dependencies are looked for; None: whatever.

    What is depended on may be known both as a node and by the name of something external.
    """

    from_: Node | None = None
    to: Node | None = None
    external: str | None = None


async def page_of_edges(
    connection: Connection, between: Ends, after: str, limit: int, moment: Moment
) -> list[Edge]:
    """At most `limit` edges declared at the moment, by id behind `after` (exclusive)."""
    from_, to = between.from_, between.to
    arrives = to is not None or between.external is not None
    rows = await connection.fetch(
        _PRESENT_PAGE if moment.is_present else _PAGE_THEN,
        moment.as_of,
        *moment.known.arguments(),
        after,
        limit,
        None if from_ is None else await _names_of(connection, [from_]),
        None if from_ is None else from_.key,
        await _names_of(connection, [] if to is None else [to]) if arrives else None,
        None if to is None else to.key,
        between.external,
    )
    return await _edges(connection, rows, moment)


async def _names_of(connection: Connection, nodes: Collection[Node]) -> list[str]:
    """Every name by which dependencies may mean these ends."""
    services = [node.key for node in nodes if node.form == "service"]
    names = [row["name"] for row in await connection.fetch(_NAMES_OF, services)]
    return names + [node.name for node in nodes if node.form == "unresolved"]


async def page_of_public_dependencies(connection: Connection, after: str, limit: int) -> list[str]:
    """At most `limit` ids behind `after` (exclusive), between services that were ever public."""
    return [row["dependency"] for row in await connection.fetch(_PUBLIC_PAGE, after, limit)]


async def _edges(connection: Connection, rows: list[asyncpg.Record], moment: Moment) -> list[Edge]:
    services = {row[end] for row in rows for end in ("from_service", "to_service") if row[end]}
    states = await facts_at(connection, sorted(services), moment.as_of, moment.known)
    names = {subject: state["name"].value for subject, state in states.items() if "name" in state}
    return [
        Edge(
            dependency=row["subject"],
            from_=_service_node(row["from_service"], row["from_name"], names),
            to=_to_node(row, names),
            kind=row["kind"],
            criticality=row["criticality"],
        )
        for row in rows
    ]


def _to_node(row: Any, names: dict[str, str]) -> Node:
    if row["external"] is not None:
        key = f"{row['external_kind']}:{row['external']}"
        return Node(key, row["external_kind"], row["external"])
    return _service_node(row["to_service"], row["to_name"], names)


def _service_node(service: str | None, name: str, names: dict[str, str]) -> Node:
    if service is None:
        return Node(name, "unresolved", name)
    return Node(service, "service", names.get(service, name))
