"""Owns what a caller without a key may see: services that are public, now and at the moment asked.

Must be asked about every service that an answer names; what is not seen here is not there.
"""

from collections.abc import Collection
from typing import Final

from shared.contracts.known_at import EVERYTHING
from shared.http.problems import NOT_FOUND, Problem
from shared.reads.reading import Asked

_PUBLIC: Final = """
SELECT w.subject FROM winning_facts($1, $2, $3, $4, $5) AS w
WHERE w.attribute = 'visibility' AND w.value = '"public"'
"""


async def public_among(asked: Asked, services: Collection[str]) -> frozenset[str]:
    """Those of these services that anybody may see."""
    moment = asked.moment
    now = (asked.now, *EVERYTHING.arguments())
    rows = await asked.connection.fetch(_PUBLIC, list(services), *now)
    seen = [row["subject"] for row in rows]
    if not moment.is_present:
        then = (moment.as_of, *moment.known.arguments())
        seen = [row["subject"] for row in await asked.connection.fetch(_PUBLIC, seen, *then)]
    return frozenset(seen)


def nothing_public() -> Problem:
    """The one answer about what is not to be seen, whether internal or never there."""
    return Problem(NOT_FOUND)
