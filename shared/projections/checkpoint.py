"""Owns the checkpoints of a generation: read, compared and set under one lock.

Must only be changed inside the transaction that writes what the events lead to.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import asyncpg

from shared.contracts.names import Position
from shared.projections.feed import Checkpoint
from shared.projections.projection import Connection

CHECKPOINT_DDL: Final = Path(__file__).with_name("checkpoint.sql")

_BEGIN: Final = "INSERT INTO checkpoint (log, recorded_at) SELECT unnest($1::text[]), $2"
_READ: Final = """
SELECT log, timeline, position, kafka_offset, digest, publication FROM checkpoint ORDER BY log
"""
_LOCK: Final = _READ + "FOR UPDATE"
_SET: Final = """
UPDATE checkpoint
SET timeline = $2, position = $3::bigint, kafka_offset = $4, digest = $5, publication = $6,
    recorded_at = coalesce($7, recorded_at), head = greatest($8::bigint, $3::bigint)
WHERE log = $1
"""
_SET_HEAD: Final = "UPDATE checkpoint SET head = $2 WHERE log = $1 AND head < $2"


class CheckpointMovedError(Exception):
    """Another process has written the batch meanwhile; read the checkpoint again and go on."""


async def begin_checkpoints(connection: Connection, logs: Iterable[str], now: datetime) -> None:
    """Put the checkpoints of a new generation at the start."""
    await connection.execute(_BEGIN, list(logs), now)


async def read_checkpoints(connection: Connection) -> dict[str, Checkpoint]:
    """Read how far each log was read."""
    return _by_log(await connection.fetch(_READ))


async def lock_checkpoints(connection: Connection) -> dict[str, Checkpoint]:
    """Read them and let nobody else write to this generation until the transaction ends.

    All rows are locked, in the order of their logs, since derived rows may come from several logs.
    Later statements have a younger snapshot than the lock, so they see all that was committed.
    """
    return _by_log(await connection.fetch(_LOCK))


async def advance(
    connection: Connection,
    before: Checkpoint,
    after: Checkpoint,
    *,
    recorded_at: datetime | None,
    head: int,
) -> None:
    """Compare and set: the first statements of every batch transaction.

    Raises: CheckpointMovedError when the checkpoint is no longer `before`.
    """
    if (await lock_checkpoints(connection)).get(before.log) != before:
        raise CheckpointMovedError(before.log)
    place = (after.timeline, after.position, after.offset, after.digest, after.publication)
    await connection.execute(_SET, after.log, *place, recorded_at, head)


async def note_head(connection: Connection, log: str, head: int) -> None:
    """Note that the log is known to go further than was read, so that the lag shows."""
    await connection.execute(_SET_HEAD, log, head)


def vector(checkpoints: Iterable[Checkpoint]) -> dict[str, Position]:
    """The positions that a generation with these checkpoints reflects."""
    return {c.log: Position(c.log, c.position, c.timeline) for c in checkpoints}


def _by_log(rows: Iterable[asyncpg.Record]) -> dict[str, Checkpoint]:
    checkpoints = (
        Checkpoint(log, position, timeline, digest, offset, publication)
        for log, timeline, position, offset, digest, publication in rows
    )
    return {checkpoint.log: checkpoint for checkpoint in checkpoints}
