"""Owns the change from one generation to the next: checked, then one pointer row, one transaction.

Must not copy events. Order of locks: the projection's gate, the pointer row, checkpoints of the
serving generation, checkpoints of the new one.
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from shared.contracts.names import Position
from shared.failpoints import reach
from shared.projections.checkpoint import lock_checkpoints, vector
from shared.projections.comparison import table_digests
from shared.projections.generations import ACTIVATE, GATE, POINT, USE, Generation
from shared.projections.projection import Connection, Projection
from shared.projections.writing import compared_tables, roll_forward

CatchUp = Callable[[dict[str, Position]], Awaitable[None]]

_log = structlog.get_logger(__name__)

_POINTER: Final = """
SELECT generation, version FROM projections.active WHERE projection = $1 FOR UPDATE
"""
_RETIRE: Final = """
UPDATE projections.generations SET state = 'retired', retired_at = clock_timestamp()
WHERE projection = $1 AND state = 'active'
"""


class FlipRefusedError(Exception):
    """The new generation may not serve; the text says why."""


async def flip(
    connection: Connection,
    projection: Projection,
    new: Generation,
    catch_up: CatchUp,
    now: datetime,
    *,
    lost: Collection[str] = (),
) -> None:
    """Make a new generation serve, in one transaction; nothing when it does already.

    The serving generation stands still meanwhile (reads go on): `catch_up` is called to bring the
    new one to its positions. For the same version the rows must then be equal, table by table,
    unless the serving one has applied what a log has `lost` since.

    Raises: FlipRefusedError, and what `catch_up` raises; then the old generation goes on.
    """
    async with connection.transaction():
        await connection.execute(GATE, projection.name)
        old = await connection.fetchrow(_POINTER, projection.name)
        if old is not None and old["generation"] == new.number:
            return
        if old is not None:
            await _check(connection, projection, old, new, catch_up, now, lost)
        reach("rebuild.before_flip")
        await connection.execute(_RETIRE, projection.name)
        await connection.execute(ACTIVATE, projection.name, new.number)
        await connection.execute(POINT, projection.name, new.number, new.version)
        reach("rebuild.inside_flip")
    reach("rebuild.after_flip")
    _log.info("generation_flipped", projection=projection.name, generation=new.number)


async def _check(
    connection: Connection,
    projection: Projection,
    old: asyncpg.Record,
    new: Generation,
    catch_up: CatchUp,
    now: datetime,
    lost: Collection[str],
) -> None:
    if old["version"] > new.version:
        raise FlipRefusedError(f"version {old['version']} serves, which is newer")
    old_schema, new_schema = projection.schema(old["generation"]), projection.schema(new.number)
    await connection.execute(USE, old_schema)
    old_at = vector((await lock_checkpoints(connection)).values())
    await catch_up(old_at)
    await connection.execute(USE, new_schema)
    new_at = vector((await lock_checkpoints(connection)).values())
    comparable = old["version"] == new.version and not lost
    still_there = {log: at for log, at in old_at.items() if log not in lost}
    refuse_vectors(still_there, new_at, equal=comparable)
    if comparable:
        await roll_forward(connection, projection, now)
        await connection.execute(USE, old_schema)
        await roll_forward(connection, projection, now)
        await _refuse_differences(connection, projection, old_schema, new_schema)


def refuse_vectors(old: dict[str, Position], new: dict[str, Position], *, equal: bool) -> None:
    """Raise FlipRefusedError unless `new` has come as far as `old`, or is exactly there."""
    for log, at in old.items():
        reached = new.get(log)
        if reached is None and not equal:
            continue
        behind = reached is None or reached.position < at.position
        if behind or (equal and reached != at):
            raise FlipRefusedError(f"the new generation is at {reached}, the serving one at {at}")


async def _refuse_differences(
    connection: Connection, projection: Projection, old_schema: str, new_schema: str
) -> None:
    tables = compared_tables(projection)
    old = await table_digests(connection, old_schema, tables)
    new = await table_digests(connection, new_schema, tables)
    different = [table for table in tables if old[table] != new[table]]
    if different:
        raise FlipRefusedError(f"tables differ from those that serve: {', '.join(different)}")
