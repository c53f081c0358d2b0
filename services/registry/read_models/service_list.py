"""Owns the question which services there are, filtered, in the order of their slugs."""

from dataclasses import dataclass
from typing import Any, Final

from shared.projections.projection import Connection
from shared.reads.moment import Moment

_FILTER: Final = """
    s.slug > $1
    AND ($3::boolean IS NULL OR s.listed = $3)
    AND ($4::text IS NULL OR s.organisation = $4 OR ($4 = '' AND s.organisation IS NULL))
    AND ($5::text IS NULL OR s.owner = $5 OR ($5 = '' AND s.owner IS NULL))
    AND ($6::text IS NULL OR s.phase = $6 OR ($6 = '' AND s.phase IS NULL))
    AND ($7::text IS NULL OR s.kind = $7)
    AND ($8::text IS NULL OR s.visibility = $8)
    AND ($9::text IS NULL OR s.holders @> ARRAY[$9])
    AND ($10::text IS NULL OR strpos(lower(s.name), lower($10)) > 0)
ORDER BY s.slug LIMIT $2
"""
_PRESENT: Final = f"SELECT s.subject, s.slug FROM services AS s WHERE {_FILTER}"  # noqa: S608 - static.
_THEN: Final = f"""
SELECT s.subject, s.slug
FROM names AS n
CROSS JOIN LATERAL services_at($11, $12, $13, $14, ARRAY[n.subject]) AS s
WHERE n.category = 'service' AND n.form = 'slug' AND n.name > $1 AND {_FILTER}
"""  # noqa: S608 - both parts are static text.


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """What services to list; None: any, an empty text: those that have none."""

    listed: bool | None = True
    organisation: str | None = None
    owner: str | None = None
    phase: str | None = None
    kind: str | None = None
    visibility: str | None = None
    holder: str | None = None
    search: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        """In the order of the statement's parameters from $3 on."""
        return (
            self.listed,
            self.organisation,
            self.owner,
            self.phase,
            self.kind,
            self.visibility,
            self.holder,
            self.search,
        )


async def list_services(
    connection: Connection, wanted: ServiceFilter, after_slug: str, limit: int, moment: Moment
) -> list[tuple[str, str]]:
    """At most `limit` pairs of id and slug behind `after_slug` (exclusive; empty = start)."""
    bounds = (after_slug, limit, *wanted.arguments())
    if moment.is_present:
        rows = await connection.fetch(_PRESENT, *bounds)
    else:
        rows = await connection.fetch(_THEN, *bounds, moment.as_of, *moment.known.arguments())
    return [(row["subject"], row["slug"]) for row in rows]
