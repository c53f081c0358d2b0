"""Owns the questions how the estate stands: counts, who owns how much, where the gaps are."""

from typing import Any, Final

from services.registry.read_models.references import names_of
from shared.projections.projection import Connection
from shared.reads.moment import Moment

# The present comes from the current table; any other moment from the facts.
_STATES: Final = """
WITH s AS (
    SELECT * FROM services WHERE $1
    UNION ALL
    SELECT * FROM services_at($2, $3, $4, $5) WHERE NOT $1
)
"""
_COUNTS: Final = (
    _STATES
    + """
SELECT
    count(*) AS known,
    count(*) FILTER (WHERE listed) AS listed,
    count(*) FILTER (WHERE NOT listed) AS delisted,
    count(*) FILTER (WHERE listed AND owner IS NULL) AS no_owner,
    count(*) FILTER (WHERE listed AND organisation IS NULL) AS no_organisation,
    count(*) FILTER (WHERE listed AND phase IS NULL) AS phase_unknown,
    count(DISTINCT owner) FILTER (WHERE listed) AS owners
FROM s
"""
)
_BY_PHASE: Final = (
    _STATES
    + """
SELECT coalesce(phase, 'unknown') AS name, count(*) AS services FROM s WHERE listed
GROUP BY 1 ORDER BY 2 DESC, 1
"""
)
_BY_ORGANISATION: Final = (
    _STATES
    + """
SELECT organisation AS id, count(*) AS services FROM s WHERE listed AND organisation IS NOT NULL
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200
"""
)
_OWNERS: Final = (
    _STATES
    + """
SELECT owner AS id, count(*) AS services FROM s WHERE listed AND owner IS NOT NULL
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $6
"""
)
_NO_OWNER: Final = (
    _STATES
    + """
SELECT subject AS id, slug, name FROM s WHERE listed AND owner IS NULL ORDER BY slug LIMIT $6
"""
)
_NO_ORGANISATION: Final = (
    _STATES
    + """
SELECT subject AS id, slug, name FROM s WHERE listed AND organisation IS NULL
ORDER BY slug LIMIT $6
"""
)
_NEVER_CONFIRMED: Final = (
    _STATES
    + """
SELECT subject AS id, slug, name FROM s WHERE listed ORDER BY slug LIMIT $6
"""
)


def _moment(moment: Moment) -> tuple[Any, ...]:
    return moment.is_present, moment.as_of, *moment.known.arguments()


async def summary(connection: Connection, moment: Moment) -> dict[str, Any]:
    """Counts of the estate at a moment, by phase and by organisation."""
    counts = await connection.fetchrow(_COUNTS, *_moment(moment))
    phases = await connection.fetch(_BY_PHASE, *_moment(moment))
    organisations = await connection.fetch(_BY_ORGANISATION, *_moment(moment))
    return {
        "services": dict(counts or {}),
        "phases": {row["name"]: row["services"] for row in phases},
        "organisations": await _named(connection, organisations, moment),
    }


async def owners(connection: Connection, limit: int, moment: Moment) -> list[dict[str, Any]]:
    """Who owns most listed services at a moment, most first."""
    rows = await connection.fetch(_OWNERS, *_moment(moment), limit)
    return await _named(connection, rows, moment)


async def gaps(connection: Connection, limit: int, moment: Moment) -> dict[str, Any]:
    """What is missing in the map at a moment: of each gap how many, and the first of them.

    No service has been confirmed by its owner before the registry takes confirmations.
    """
    counts = await connection.fetchrow(_COUNTS, *_moment(moment))
    totals = dict(counts or {})
    answer = {}
    for name, statement, total in (
        ("no_owner", _NO_OWNER, totals["no_owner"]),
        ("no_organisation", _NO_ORGANISATION, totals["no_organisation"]),
        ("never_confirmed", _NEVER_CONFIRMED, totals["listed"]),
    ):
        rows = await connection.fetch(statement, *_moment(moment), limit)
        answer[name] = {"count": total, "first": [dict(row) for row in rows]}
    return answer


async def _named(connection: Connection, rows: list[Any], moment: Moment) -> list[dict[str, Any]]:
    names = await names_of(connection, {row["id"] for row in rows}, moment)
    return [
        {"id": row["id"], "name": names.get(row["id"]), "services": row["services"]} for row in rows
    ]
