"""Owns one batch transaction: checkpoint first, rows, derived rows, commit.

Must not retry or wait; whoever follows a feed decides that.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from shared.failpoints import reach
from shared.projections.checkpoint import advance
from shared.projections.feed import Checkpoint, FeedBatch
from shared.projections.folding import Folded, ProjectionStoppedError, fold
from shared.projections.projection import Connection, Projection
from shared.projections.writing import WRITE_REFUSED, derive, write_rows


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
    bulk: bool = False,
) -> Applied:
    """Fold and write one batch in one transaction; in bulk, derived rows are left for the end.

    Raises: BatchRefusedError, with nothing written; CheckpointMovedError when another process was
    faster; driver errors, after which the checkpoint must be read again.
    """
    folded = await fold(projection, before, batch.events)
    if folded.stopped is not None:
        raise BatchRefusedError(folded.stopped, folded.events + folded.dropped)
    try:
        async with connection.transaction():
            await _write(connection, projection, before, batch, folded, now, bulk=bulk)
            reach("projector.before_commit")
    except (*WRITE_REFUSED, ValueError) as error:
        position = before.position + 1
        cause = ProjectionStoppedError("write-refused", before.log, position, repr(error))
        raise BatchRefusedError(cause, None if folded.events > 1 else 0) from error
    reach("projector.after_commit")
    return Applied(batch.end, folded.events, folded.dropped)


async def _write(
    connection: Connection,
    projection: Projection,
    before: Checkpoint,
    batch: FeedBatch,
    folded: Folded,
    now: datetime,
    *,
    bulk: bool,
) -> None:
    recorded_at = folded.last.recorded_at if folded.last is not None else None
    await advance(connection, before, batch.end, recorded_at=recorded_at, head=batch.head)
    if folded.rows:
        await write_rows(connection, projection, folded)
        if not bulk:
            await derive(connection, projection, folded, now)
