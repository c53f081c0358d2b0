"""Owns replaying a projection into a scratch schema and comparing it with the one that serves.

Must not change what serves but for what the passing of time changes there anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from shared.clock import Clock
from shared.contracts.names import Position
from shared.projections.bulk import OpenFeed, copy_log, follow_to, known_head
from shared.projections.checkpoint import lock_checkpoints, read_checkpoints, vector
from shared.projections.comparison import Difference, differing_rows
from shared.projections.feed import Feed, FeedBatch
from shared.projections.generations import finish_tables
from shared.projections.projection import Connection, Projection
from shared.projections.rebuild import REBUILD_BATCH_EVENTS, OnProgress, Progress
from shared.projections.writing import compared_tables, create_tables, roll_forward

_DIFFERENCES_LISTED = 100
_POLL_S = 0.05
_USE = "SELECT set_config('search_path', $1, true)"


class NeverAtSamePositionsError(Exception):
    """The live schema did not reach the scratch schema's positions in time."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A scratch schema and the positions that it reflects."""

    schema: str
    positions: dict[str, Position]


async def replay(
    projection: Projection,
    open_feed: OpenFeed,
    dsn: str,
    clock: Clock,
    *,
    to: Iterable[Position] | None = None,
    on_progress: OnProgress = lambda _done, _total, _eta_s: None,
    label: str = "scratch",
) -> Replayed:
    """Build the projection anew from its logs, up to positions or to their heads; return where.

    The schema `<name>_<label>` is dropped first when it exists, and is the caller's to drop.
    A log that `to` does not name is read to its head.

    Raises: ProjectionStoppedError, FeedStoppedError, FeedUnavailableError, driver errors.
    """
    schema = f"{projection.name}_{label}"
    async with _connected(dsn, schema) as connection, _feeds(projection, open_feed) as feeds:
        async with connection.transaction():
            await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            await connection.execute(f"CREATE SCHEMA {schema}")
            await create_tables(connection, projection, clock.now())
        await _copy_all(connection, projection, feeds, to, clock, Progress(clock, on_progress))
        async with connection.transaction():
            await finish_tables(connection, projection, clock.now())
        return Replayed(schema, vector((await read_checkpoints(connection)).values()))


async def diff(
    projection: Projection,
    open_feed: OpenFeed,
    dsn: str,
    clock: Clock,
    *,
    live_schema: str,
    scratch_schema: str,
    limit: int = _DIFFERENCES_LISTED,
    timeout_s: float = 60.0,
) -> list[Difference]:
    """Compare row for row at the same positions; list at most `limit` rows that differ.

    The scratch schema is caught up with the live one. Live batches wait while rows are compared;
    reads go on.

    Raises: NeverAtSamePositionsError, and as `replay`.
    """
    async with (
        _connected(dsn, scratch_schema) as scratch,
        _connected(dsn, live_schema) as live,
        _feeds(projection, open_feed) as feeds,
    ):
        side = _Side(scratch, projection, feeds, clock)
        await _bring_together(side, live, timeout_s)
        async with _held_together(side, live, timeout_s):
            now = clock.now()
            for schema in (scratch_schema, live_schema):
                await live.execute(_USE, schema)
                await roll_forward(live, projection, now)
            tables = compared_tables(projection)
            return await differing_rows(live, live_schema, scratch_schema, tables, limit)


@dataclass(frozen=True, slots=True)
class _Side:
    """The scratch schema and what can move it forward."""

    connection: Connection
    projection: Projection
    feeds: Sequence[Feed]
    clock: Clock

    async def follow_to(self, to: Mapping[str, Position]) -> None:
        for feed in self.feeds:
            target = to[feed.log].position if feed.log in to else 0
            await follow_to(
                self.connection,
                self.projection,
                feed,
                target,
                self.clock,
                REBUILD_BATCH_EVENTS,
            )

    async def positions(self) -> dict[str, Position]:
        return vector((await read_checkpoints(self.connection)).values())


async def _bring_together(side: _Side, live: Connection, timeout_s: float) -> None:
    """Come close before the live side is held, and wait for it where it is behind."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                at = vector((await read_checkpoints(live)).values())
                await side.follow_to(at)
                reached = await side.positions()
                if all(reached[log].position <= at[log].position for log in at):
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        detail = f"the live side stays behind {', '.join(map(str, reached.values()))}"
        raise NeverAtSamePositionsError(detail) from error


@asynccontextmanager
async def _held_together(side: _Side, live: Connection, timeout_s: float) -> AsyncIterator[None]:
    """Hold the live side still and bring the scratch side to the same positions."""
    async with live.transaction():
        at = vector((await lock_checkpoints(live)).values())
        async with asyncio.timeout(timeout_s):
            await side.follow_to(at)
        if await side.positions() != at:
            raise NeverAtSamePositionsError(f"the live side is at {at}")
        yield


async def _copy_all(
    connection: Connection,
    projection: Projection,
    feeds: Sequence[Feed],
    to: Iterable[Position] | None,
    clock: Clock,
    progress: Progress,
) -> None:
    wanted = {position.log: position.position for position in to or ()}
    start = await read_checkpoints(connection)
    for feed in feeds:
        head = await known_head(feed, start[feed.log])
        wanted[feed.log] = min(wanted.get(feed.log, head), head)
    progress.total = sum(wanted.values())

    async def counted(_inside: Connection, _log: str, batch: FeedBatch) -> None:
        progress.at(progress.done + len(batch.events))

    progress.at(0)
    for feed in feeds:
        await copy_log(
            connection,
            projection,
            feed,
            wanted[feed.log],
            clock,
            batch_max_events=REBUILD_BATCH_EVENTS,
            counted=counted,
        )


@asynccontextmanager
async def _feeds(projection: Projection, open_feed: OpenFeed) -> AsyncIterator[list[Feed]]:
    async with AsyncExitStack() as stack:
        feeds = [open_feed(log) for log in projection.logs]
        for feed in feeds:
            stack.push_async_callback(feed.close)
        yield feeds


@asynccontextmanager
async def _connected(dsn: str, schema: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    settings = {"search_path": schema, "synchronous_commit": "off"}
    connection = await asyncpg.connect(dsn, timeout=10, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()
