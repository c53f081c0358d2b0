"""Owns which changes a reader wants: the same rule as SQL parameters and in memory.

Must not hold a rule of the estate.
"""

from dataclasses import dataclass, replace
from typing import Final

from services.notifications.read_models.change import Change
from services.notifications.read_models.projection import CHANGES
from shared.projections.projection import Connection

_ALL_NAMES: Final = """
WITH meant AS (
    SELECT n.subject FROM names AS n WHERE n.category = $1 AND n.name = $2
    UNION
    SELECT $2::text
)
SELECT n.name FROM names AS n JOIN meant USING (subject) WHERE n.category = $1
UNION
SELECT subject FROM meant
"""
_TYPES: Final = """
WITH RECURSIVE found AS (
    (SELECT c.type FROM changes AS c ORDER BY c.type LIMIT 1)
    UNION ALL
    SELECT (SELECT c.type FROM changes AS c WHERE c.type > f.type ORDER BY c.type LIMIT 1)
    FROM found AS f WHERE f.type IS NOT NULL
)
SELECT type FROM found WHERE type ^@ ANY($1::text[])
"""
"""Goes from one type to the next in the index; there are some tens of them."""


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """What a change must be; None: anything.

    `services` and `organisations` are all the names of what is meant; a change must touch one.
    """

    types: frozenset[str] | None = None
    type_prefixes: tuple[str, ...] = ()
    services: frozenset[str] | None = None
    organisations: frozenset[str] | None = None
    logs: tuple[str, ...] = CHANGES.logs

    def admits(self, change: Change) -> bool:
        """Whether the reader wants this change."""
        return (
            change.log in self.logs
            and (
                self.types is None
                or change.type in self.types
                or change.type.startswith(self.type_prefixes)
            )
            and (self.services is None or not self.services.isdisjoint(change.services))
            and (
                self.organisations is None
                or not self.organisations.isdisjoint(change.organisations)
            )
        )

    def touched(self) -> tuple[list[str] | None, list[str] | None]:
        """Services and organisations as parameters of a statement."""
        return _listed(self.services), _listed(self.organisations)


async def existing_types(connection: Connection, wanted: ChangeFilter) -> list[str] | None:
    """The types that are wanted, beginnings replaced by the types there are; None: any."""
    if wanted.types is None or not wanted.type_prefixes:
        return _listed(wanted.types)
    rows = await connection.fetch(_TYPES, list(wanted.type_prefixes))
    return sorted(wanted.types.union(row["type"] for row in rows))


async def with_all_names(connection: Connection, wanted: ChangeFilter) -> ChangeFilter:
    """The same filter with every name that the registry now has for the service and organisation.

    Dependencies keep the name they were declared with, so each name of a service finds others.
    """
    return replace(
        wanted,
        services=await _all_names(connection, "service", wanted.services),
        organisations=await _all_names(connection, "organisation", wanted.organisations),
    )


async def _all_names(
    connection: Connection, category: str, names: frozenset[str] | None
) -> frozenset[str] | None:
    if names is None:
        return None
    found = [row[0] for name in names for row in await connection.fetch(_ALL_NAMES, category, name)]
    return frozenset(found)


def _listed(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)
