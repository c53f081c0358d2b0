"""Owns reading a log at full speed into tables without indexes: the next batch is read meanwhile.

Must not derive rows; whoever calls does that once, at the end.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from shared.clock import Clock
from shared.projections.applying import BatchRefusedError, apply_batch
from shared.projections.checkpoint import CheckpointMovedError, read_checkpoints
from shared.projections.feed import (
    Checkpoint,
    Feed,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)
from shared.projections.projection import Connection, Projection

OpenFeed = Callable[[str], Feed]
"""Opens a feed of the named log; each reader has its own, and closes it."""

Counted = Callable[[Connection, str, FeedBatch], Awaitable[None]]
"""Runs inside each batch's transaction."""

_READ_WAIT_S: Final = 1.0
_EMPTY_READS_MAX: Final = 15


async def copy_log(
    connection: Connection,
    projection: Projection,
    feed: Feed,
    to: int,
    clock: Clock,
    *,
    batch_max_events: int,
    counted: Counted,
) -> None:
    """Copy a log's rows up to a position, from wherever the checkpoint is.

    Raises: ProjectionStoppedError, FeedStoppedError, FeedUnavailableError, driver errors.
    """
    while True:
        before = (await read_checkpoints(connection))[feed.log]
        try:
            await _copy_from(
                connection, projection, feed, before, to, clock, batch_max_events, counted
            )
        except CheckpointMovedError:
            continue  # Another process copies too; go on from where it is.
        except BatchRefusedError as error:
            raise error.cause from error
        return


async def _copy_from(
    connection: Connection,
    projection: Projection,
    feed: Feed,
    before: Checkpoint,
    to: int,
    clock: Clock,
    batch_max_events: int,
    counted: Counted,
) -> None:
    async with aclosing(batches(feed, before, to, batch_max_events)) as ahead:
        async for batch in ahead:

            async def count(inside: Connection, batch: FeedBatch = batch) -> None:
                await counted(inside, feed.log, batch)

            applied = await apply_batch(
                connection, projection, before, batch, clock.now(), bulk=count
            )
            before = applied.checkpoint


async def batches(
    feed: Feed, after: Checkpoint, to: int, batch_max_events: int
) -> AsyncGenerator[FeedBatch, None]:
    """The batches up to a position, or to where the log ends before it.

    While one is worked on, the next is being read.
    """

    def read(behind: Checkpoint) -> "asyncio.Task[FeedBatch] | None":
        left = min(batch_max_events, to - behind.position)
        return asyncio.create_task(feed.read(behind, left, _READ_WAIT_S)) if left > 0 else None

    reading = read(after)
    empty = 0
    try:
        while reading is not None:
            batch = await reading
            if not batch.events and batch.head <= batch.end.position:
                return
            empty = _count_empty(feed, batch, empty)
            reading = read(batch.end)
            yield batch
    finally:
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reading


async def follow_to(
    connection: Connection,
    projection: Projection,
    feed: Feed,
    to: int,
    clock: Clock,
    batch_max_events: int,
) -> None:
    """Apply events with all that is derived, up to a position.

    Raises: as `copy_log`.
    """
    empty = 0
    while True:
        before = (await read_checkpoints(connection))[feed.log]
        if before.position >= to:
            return
        limit = min(batch_max_events, to - before.position)
        batch = await feed.read(before, limit, _READ_WAIT_S)
        empty = _count_empty(feed, batch, empty)
        with contextlib.suppress(CheckpointMovedError):
            try:
                await apply_batch(connection, projection, before, batch, clock.now())
            except BatchRefusedError as error:
                raise error.cause from error


def _count_empty(feed: Feed, batch: FeedBatch, before: int) -> int:
    """Count reads in a row that brought nothing, though what is read for was there before."""
    if batch.events:
        return 0
    if before >= _EMPTY_READS_MAX:
        raise FeedUnavailableError(f"{feed.log} does not go on behind {batch.end.position}")
    return before + 1


async def known_head(feed: Feed, after: Checkpoint) -> int:
    """Where the log ends as far as its feed can tell now; too far where a topic holds repeats."""
    return (await feed.read(after, 1, 0)).head


async def holds(feed: Feed, checkpoint: Checkpoint) -> bool:
    """Whether the event that a checkpoint was taken at is still in the log.

    Raises: FeedStoppedError for any other reason, FeedUnavailableError.
    """
    if checkpoint.position == 0:
        return True
    try:
        await feed.read(checkpoint, 1, 0)
    except FeedStoppedError as stop:
        if stop.reason != "other-history":
            raise
        return False
    return True
