"""Owns comparing the same tables in two schemas: by digest, and row for row.

Must not decide what a difference means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.projections.projection import Connection

_ROWS_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same in both schemas; None on the side where it is missing."""

    table: str
    key: Mapping[str, Any]
    live: Mapping[str, Any] | None
    scratch: Mapping[str, Any] | None


async def table_digests(
    connection: Connection, schema: str, tables: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[int, str]]:
    """Per table its number of rows and a digest of them that does not depend on their order."""
    digests = {}
    for table in tables:
        row = await connection.fetchrow(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text || '/' "  # noqa: S608 - declared names.
            f"|| coalesce(sum(hashtextextended(t::text, 1)), 0)::text FROM {schema}.{table} AS t"
        )
        digests[table] = (row[0], row[1]) if row is not None else (0, "")
    return digests


async def differing_rows(
    connection: Connection,
    live_schema: str,
    scratch_schema: str,
    tables: Mapping[str, tuple[str, ...]],
    limit: int = _ROWS_LISTED,
) -> list[Difference]:
    """List the rows that differ, at most `limit` in all."""
    differences: list[Difference] = []
    for table, key in tables.items():
        joined = " AND ".join(f"a.{column} = b.{column}" for column in key)
        rows = await connection.fetch(
            f"SELECT to_jsonb(a)::text, to_jsonb(b)::text FROM {live_schema}.{table} AS a "  # noqa: S608 - declared names.
            f"FULL JOIN {scratch_schema}.{table} AS b ON {joined} "
            "WHERE a::text IS DISTINCT FROM b::text LIMIT $1",
            limit - len(differences),
        )
        differences += [_difference(table, key, *row) for row in rows]
    return differences


def _difference(
    table: str, key: tuple[str, ...], live: str | None, scratch: str | None
) -> Difference:
    a = None if live is None else orjson.loads(live)
    b = None if scratch is None else orjson.loads(scratch)
    known = a or b or {}
    return Difference(table, {column: known.get(column) for column in key}, a, b)
