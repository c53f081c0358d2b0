"""Owns finding what an id, slug or alias refers to, and what organisations are called."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from shared.contracts.names import is_id
from shared.http.problems import NOT_FOUND, Problem
from shared.projections.facts import Held, facts_at, held_by_subject
from shared.projections.projection import Connection
from shared.reads.moment import Moment
from shared.reads.reading import Asked, first_or_not_known

DocumentsAt: TypeAlias = Callable[[Connection, list[str], Moment], Awaitable[list[dict[str, Any]]]]

PREFIXES: Final = {"service": "svc", "organisation": "org"}

# Asked of the log, which knows even what was redacted.
_EXISTS: Final = "SELECT EXISTS (SELECT FROM log.events WHERE stream = $1)"
_BY_NAME: Final = """
SELECT subject FROM names WHERE category = $1 AND form = $2 AND name = $3
"""

# Whoever keeps, holds or stands above what was asked for is called by a name.
_WITH_NAMES: Final = """
WITH own AS MATERIALIZED (
    SELECT subject, attribute, value, effective_from, position
    FROM winning_facts($1, $2, $3, $4, $5)
)
SELECT subject, attribute, value, effective_from, position FROM own
UNION ALL
SELECT subject, attribute, value, effective_from, position
FROM winning_facts(
    ARRAY(
        SELECT DISTINCT value::jsonb #>> '{}' FROM own
        WHERE attribute IN ('organisation', 'parent') OR starts_with(attribute, 'role:')
    ),
    $2, $3, $4, $5
)
WHERE attribute = 'name'
"""


async def find(connection: Connection, category: str, reference: str) -> str | None:
    """The id behind a reference, whenever it was registered; None when nothing answers to it."""
    if is_id(reference, PREFIXES[category]):
        exists = await connection.fetchval(_EXISTS, f"{category}-{reference}")
        return reference if exists else None
    form = "alias" if ":" in reference else "slug"
    subject: str | None = await connection.fetchval(_BY_NAME, category, form, reference)
    return subject


async def require(connection: Connection, category: str, reference: str) -> str:
    """The id behind a reference.

    Raises: Problem `not-found`.
    """
    subject = await find(connection, category, reference)
    if subject is None:
        raise Problem(NOT_FOUND, f"No {category} answers to this reference.")
    return subject


async def one_at(
    asked: Asked, category: str, reference: str, documents_at: DocumentsAt
) -> tuple[str, dict[str, Any]]:
    """The id behind a reference, and its document at the moment asked about.

    Raises: Problem `not-found`, or `not-known-then`.
    """
    connection, subject = asked.connection, reference
    if not is_id(reference, PREFIXES[category]):
        subject = await require(connection, category, reference)
    documents = await documents_at(connection, [subject], asked.moment)
    if not documents:
        await require(connection, category, subject)
    return subject, first_or_not_known(documents)


async def facts_and_names(
    connection: Connection, subjects: Collection[str], moment: Moment
) -> tuple[dict[str, dict[str, Held]], dict[str, str]]:
    """Per subject the attributes in force at a moment; what the organisations in them are called.

    One query. Contacts have no name here.
    """
    arguments = (subjects, moment.as_of, *moment.known.arguments())
    states = held_by_subject(await connection.fetch(_WITH_NAMES, *arguments))
    return states, _names(states)


async def names_of(
    connection: Connection, organisations: Collection[str], moment: Moment
) -> dict[str, str]:
    """What organisations are called at a moment, by id; contacts have no name here."""
    ids = [reference for reference in organisations if is_id(reference, "org")]
    if not ids:
        return {}
    return _names(await facts_at(connection, ids, moment.as_of, moment.known))


def _names(states: Mapping[str, Mapping[str, Held]]) -> dict[str, str]:
    return {subject: state["name"].value for subject, state in states.items() if "name" in state}
