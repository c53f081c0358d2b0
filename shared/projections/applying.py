"""Owns one batch transaction: checkpoint first, rows, derived rows, commit.

Must not retry or wait; whoever follows a feed decides that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from shared.failpoints import reach
from shared.projections.checkpoint import advance
from shared.projections.feed import Checkpoint, FeedBatch
from shared.projections.folding import Folded, ProjectionStoppedError, fold
from shared.projections.projection import Connection, Projection
from shared.projections.writing import WRITE_REFUSED, derive, write_rows

BulkStep = Callable[[Connection], Awaitable[None]]

TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Errors of the database that may pass; WRITE_REFUSED ones among them never get this far."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Where a batch led to."""

    checkpoint: Checkpoint
    events: int
    dropped: int


class BatchRefusedError(Exception):
    """An event of the batch stops the projection; `before` events ahead of it can be applied.

    `before` is None when Postgres refused the rows and which event is at fault is not known.
    """

    def __init__(self, cause: ProjectionStoppedError, before: int | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.before = before


async def apply_batch(
    connection: Connection,
    projection: Projection,
    before: Checkpoint,
    batch: FeedBatch,
    now: datetime,
    *,
    bulk: BulkStep | None = None,
) -> Applied:
    """Fold and write one batch in one transaction; in bulk, `bulk` runs in place of deriving rows.

    Raises: BatchRefusedError, with nothing written; CheckpointMovedError when another process was
    faster; TRANSIENT errors, after which the checkpoint must be read again.
    """
    folded = await fold(projection, before, batch.events)
    if folded.stopped is not None:
        raise BatchRefusedError(folded.stopped, folded.events + folded.dropped)
    try:
        async with connection.transaction():
            await _write(connection, projection, before, batch, folded)
            await (bulk(connection) if bulk else derive(connection, projection, folded, now))
            reach("projector.before_commit")
    except WRITE_REFUSED as error:
        detail = f"in {before.position + 1} to {batch.end.position}: {error!r}"
        cause = ProjectionStoppedError("write-refused", before.log, before.position + 1, detail)
        raise BatchRefusedError(cause, None if folded.events > 1 else 0) from error
    reach("projector.after_commit")
    return Applied(batch.end, folded.events, folded.dropped)


async def _write(
    connection: Connection,
    projection: Projection,
    before: Checkpoint,
    batch: FeedBatch,
    folded: Folded,
) -> None:
    recorded_at = folded.last.recorded_at if folded.last is not None else None
    await advance(connection, before, batch.end, recorded_at=recorded_at, head=batch.head)
    await write_rows(connection, projection, folded)
