"""Owns finding what an id, slug or alias refers to, and what organisations are called."""

from collections.abc import Collection
from typing import Final

from shared.contracts.names import is_id
from shared.http.problems import NOT_FOUND, Problem
from shared.projections.facts import facts_at
from shared.projections.projection import Connection
from shared.reads.moment import Moment

PREFIXES: Final = {"service": "svc", "organisation": "org"}

# Asked of the log, which knows even what was redacted.
_EXISTS: Final = "SELECT EXISTS (SELECT FROM log.events WHERE stream = $1)"
_BY_NAME: Final = """
SELECT subject FROM names WHERE category = $1 AND form = $2 AND name = $3
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


async def names_of(
    connection: Connection, organisations: Collection[str], moment: Moment
) -> dict[str, str]:
    """What organisations are called at a moment, by id; contacts have no name here."""
    ids = [reference for reference in organisations if is_id(reference, "org")]
    if not ids:
        return {}
    states = await facts_at(connection, ids, moment.as_of, moment.known)
    return {subject: state["name"].value for subject, state in states.items() if "name" in state}
