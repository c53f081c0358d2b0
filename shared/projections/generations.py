"""Owns which generations a projection has: their rows, their schemas, which one serves.

Must not copy or fold events.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from shared.projections.checkpoint import lock_checkpoints, read_checkpoints
from shared.projections.feed import Checkpoint
from shared.projections.projection import Connection, Projection
from shared.projections.writing import (
    compared_tables,
    create_indexes,
    create_tables,
    derive_all,
)

_log = structlog.get_logger(__name__)

GATE: Final = "SELECT pg_advisory_xact_lock(1886547818, hashtext($1))"
USE: Final = "SELECT set_config('search_path', $1, true)"
_SERVING: Final = """
SELECT generation, version, state, phase FROM projections.generations
WHERE projection = $1 AND (state = 'active' OR (state = 'retired' AND version = $2))
ORDER BY (state = 'active' AND version <= $2) DESC, (version = $2) DESC, generation DESC
LIMIT 1
"""
_ACTIVE: Final = """
SELECT generation, version, state, phase FROM projections.generations
WHERE projection = $1 AND state = 'active'
"""
_BUILDING: Final = """
SELECT generation, version, state, phase FROM projections.generations
WHERE projection = $1 AND state = 'building' ORDER BY generation
"""
_INSERT: Final = """
INSERT INTO projections.generations (projection, generation, version, state, phase)
SELECT $1, coalesce(max(generation), 0) + 1, $2, 'building', $3
FROM projections.generations WHERE projection = $1
RETURNING generation, version, state, phase
"""
POINT: Final = """
INSERT INTO projections.active (projection, generation, version) VALUES ($1, $2, $3)
ON CONFLICT (projection) DO UPDATE
SET generation = excluded.generation, version = excluded.version, flipped_at = clock_timestamp()
"""
ACTIVATE: Final = """
UPDATE projections.generations SET state = 'active', activated_at = clock_timestamp()
WHERE projection = $1 AND generation = $2
"""
_COPIED: Final = """
UPDATE projections.generations SET events_done = events_done + $3, events_total = $4
WHERE projection = $1 AND generation = $2 AND phase = 'copying'
RETURNING true
"""
_FOLLOW: Final = """
UPDATE projections.generations SET phase = 'following'
WHERE projection = $1 AND generation = $2 AND phase = 'copying'
RETURNING true
"""
_DROPPABLE: Final = """
SELECT generation, version, state, phase FROM projections.generations
WHERE projection = $1 AND state = 'retired' ORDER BY generation DESC OFFSET $2
"""
_DELETE: Final = "DELETE FROM projections.generations WHERE projection = $1 AND generation = $2"


class CopyingOverError(Exception):
    """Another process has ended the bulk copy meanwhile; go on by following."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a projection: `state` is building, active or retired."""

    number: int
    version: int
    state: str
    phase: str


async def serving(connection: Connection, projection: Projection) -> Generation | None:
    """The generation for this version of the code: the active one, unless its version is newer.

    Then it is the last one of this version, which is kept for going back; without any, the active.
    """
    row = await connection.fetchrow(_SERVING, projection.name, projection.version)
    return None if row is None else Generation(*row)


async def pointed_at(connection: Connection, projection: Projection) -> Generation | None:
    """The active generation, whatever its version."""
    row = await connection.fetchrow(_ACTIVE, projection.name)
    return None if row is None else Generation(*row)


async def ensure_first(connection: Connection, projection: Projection, now: datetime) -> Generation:
    """The serving generation; generation 1, empty and active at once, when there is none."""
    found = await serving(connection, projection)
    if found is not None:
        return found
    async with connection.transaction():
        await connection.execute(GATE, projection.name)
        found = await serving(connection, projection)
        if found is not None:
            return found
        made = await _create(connection, projection, "following", now)
        await create_indexes(connection, projection)
        await connection.execute(ACTIVATE, projection.name, made.number)
        await connection.execute(POINT, projection.name, made.number, made.version)
    _log.info("generation_created", projection=projection.name, generation=made.number)
    return Generation(made.number, made.version, "active", made.phase)


async def begin_rebuild(
    connection: Connection, projection: Projection, now: datetime
) -> Generation:
    """The building generation of this version, resumed or made new; older versions' are dropped."""
    async with connection.transaction():
        await connection.execute(GATE, projection.name)
        for row in await connection.fetch(_BUILDING, projection.name):
            unfinished = Generation(*row)
            if unfinished.version == projection.version:
                return unfinished
            if unfinished.version < projection.version:
                await _drop(connection, projection, unfinished)
        return await _create(connection, projection, "copying", now)


async def note_copied(
    connection: Connection, projection: Projection, generation: int, events: int, total: int
) -> None:
    """Count a bulk batch, inside its transaction.

    Raises: CopyingOverError when rows may no longer be added without deriving from them.
    """
    if not await connection.fetchval(_COPIED, projection.name, generation, events, total):
        raise CopyingOverError


async def end_copying(
    connection: Connection, projection: Projection, generation: int, now: datetime
) -> None:
    """Index, derive and analyse what was copied, in one transaction; repeatable."""
    async with connection.transaction():
        await lock_checkpoints(connection)
        if not await connection.fetchval(_FOLLOW, projection.name, generation):
            return
        await finish_tables(connection, projection, now)


async def finish_tables(connection: Connection, projection: Projection, now: datetime) -> None:
    """Index, derive and analyse copied tables, in the transaction at hand."""
    await create_indexes(connection, projection)
    await analyze(connection, projection)
    await derive_all(connection, projection, now)
    await analyze(connection, projection)


async def analyze(connection: Connection, projection: Projection) -> None:
    """Let the planner know what the tables hold."""
    await connection.execute("ANALYZE " + ", ".join(compared_tables(projection)))


async def checkpoints_of(
    connection: Connection, projection: Projection, generation: int
) -> dict[str, Checkpoint]:
    """How far a generation has read each log."""
    async with connection.transaction():
        await connection.execute(USE, projection.schema(generation))
        return await read_checkpoints(connection)


async def abandon(connection: Connection, projection: Projection, unfinished: Generation) -> None:
    """Drop a generation that is being built."""
    async with connection.transaction():
        await connection.execute(GATE, projection.name)
        await _drop(connection, projection, unfinished)


async def drop_retired(connection: Connection, projection: Projection, keep: int = 1) -> int:
    """Drop retired generations but the `keep` newest; return how many were dropped."""
    async with connection.transaction():
        await connection.execute(GATE, projection.name)
        rows = await connection.fetch(_DROPPABLE, projection.name, keep)
        await _drop_all(connection, projection, (Generation(*row) for row in rows))
    return len(rows)


async def _drop_all(
    connection: Connection, projection: Projection, generations: Iterable[Generation]
) -> None:
    for generation in generations:
        await _drop(connection, projection, generation)


async def _drop(connection: Connection, projection: Projection, generation: Generation) -> None:
    schema = projection.schema(generation.number)
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    await connection.execute(_DELETE, projection.name, generation.number)
    _log.info("generation_dropped", projection=projection.name, generation=generation.number)


async def _create(
    connection: Connection, projection: Projection, phase: str, now: datetime
) -> Generation:
    """Make the row, the schema and its tables; search_path names it until the transaction ends."""
    row = await connection.fetchrow(_INSERT, projection.name, projection.version, phase)
    if row is None:  # pragma: no cover - INSERT ... RETURNING answers a row.
        raise RuntimeError("no generation was made")
    generation = Generation(*row)
    schema = projection.schema(generation.number)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(USE, schema)
    await create_tables(connection, projection, now)
    return generation
