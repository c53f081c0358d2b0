"""Owns reading one log from a Postgres database: head, rows and tables of one and the same instant.

Must not write, and needs no right but SELECT.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from shared.audit.findings import Fault, HeadRow
from shared.audit.rows import COPY_HEADER, COPY_TRAILER

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_TIMEOUT_S: Final = 10.0
STATEMENT_TIMEOUT_S: Final = 300.0
STALL_TIMEOUT_S: Final = 60.0
BATCH_BYTES: Final = 1024 * 1024

_CHUNKS_AHEAD: Final = 8
_UNREADABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)
_SETTINGS: Final = {"search_path": "pg_catalog", "application_name": "estate-verify"}

_HEAD: Final = """
SELECT log::text, timeline::integer, publication::integer, position::bigint,
    CASE WHEN isfinite(recorded_at) THEN
        (extract(epoch FROM recorded_at - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint
    ELSE '-9223372036854775808'::bigint END AS recorded_us,
    coalesce(tree, '')::bytea AS tree
FROM log.head
"""
_EVENTS: Final = """
SELECT position::bigint, stream_version::integer, recorded_at::timestamptz, leaf::bytea,
    stream::text, type::text, body::bytea
FROM log.events ORDER BY position
"""
_COMMANDS: Final = """
WITH spans AS (
    SELECT first_position AS first, last_position AS last,
        lag(last_position, 1, 0::bigint) OVER (ORDER BY first_position) + 1 AS expected
    FROM log.commands WHERE first_position IS NOT NULL OR last_position IS NOT NULL
    UNION ALL
    SELECT (SELECT coalesce(max(position), 0) FROM log.events) + 1, NULL,
        (SELECT coalesce(max(last_position), 0) FROM log.commands) + 1
)
SELECT least(first, expected) AS position FROM spans
WHERE first IS DISTINCT FROM expected OR first > last
ORDER BY position LIMIT 1
"""
_CLAIMS: Final = """
SELECT c.kind, c.position FROM log.claims c
LEFT JOIN log.events e ON e.position = c.position AND e.stream = c.stream
WHERE e.position IS NULL ORDER BY c.position LIMIT 1
"""
# The rows are wanted in the order of an index that has them nearly in the order of the disk; a
# table that was never analysed would else be sorted whole.
_NO_SORT: Final = "SET LOCAL enable_sort = off"


class SourceUnreadableError(Exception):
    """A log or a topic could not be read, so nothing can be said of it."""


class LogSnapshot:
    """One log as of one instant; every answer is of that instant."""

    def __init__(self, connection: Connection, head: HeadRow) -> None:
        self._connection = connection
        self.head = head

    async def table_faults(self) -> list[Fault]:
        """What the tables beside the events say that the events do not bear out."""
        fetch = self._connection.fetchrow
        faults = []
        command = await fetch(_COMMANDS, timeout=STATEMENT_TIMEOUT_S)
        if command is not None:
            detail = "the commands do not account for each event once from here on"
            faults.append(Fault(command["position"], "command-dangling", detail))
        claim = await fetch(_CLAIMS, timeout=STATEMENT_TIMEOUT_S)
        if claim is not None:
            detail = f"a {claim['kind']} is claimed by an event of another stream or of none"
            faults.append(Fault(claim["position"], "claim-dangling", detail))
        return faults

    async def batches(self) -> AsyncGenerator[bytes, None]:
        """Yield all rows of the events table, packed, about a megabyte at a time.

        Close it before anything else is asked of the snapshot; after an early close nothing may.

        Raises: SourceUnreadableError; TimeoutError when the database sends nothing for long, which
        `open_snapshot` turns into the former.
        """
        pending = bytearray()
        is_first = True
        async with contextlib.aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                if len(pending) >= BATCH_BYTES:
                    yield bytes(pending)
                    pending.clear()
                # Postgres sends each row as one message, so a chunk never ends within a row.
                pending += chunk[len(COPY_HEADER) :] if is_first else chunk
                is_first = False
        if not pending.endswith(COPY_TRAILER):
            raise SourceUnreadableError("the copy of the events ended too early")
        if len(pending) > len(COPY_TRAILER):
            yield bytes(pending[: -len(COPY_TRAILER)])

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_CHUNKS_AHEAD)
        copying = asyncio.create_task(self._copy(queue), name="verify-copy")
        try:
            while True:
                async with asyncio.timeout(STALL_TIMEOUT_S):
                    item = await queue.get()
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise SourceUnreadableError(f"the events cannot be read: {item}") from item
                yield item
        finally:
            copying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await copying

    async def _copy(self, queue: asyncio.Queue[bytes | Exception | None]) -> None:
        try:
            await self._connection.copy_from_query(_EVENTS, output=queue.put, format="binary")
        except Exception as error:  # noqa: BLE001 - handed to whoever reads the queue.
            await queue.put(error)
        else:
            await queue.put(None)


@asynccontextmanager
async def open_snapshot(dsn: str) -> AsyncIterator[LogSnapshot]:
    """Open the log that a database holds, as it is now.

    Raises: SourceUnreadableError.
    """
    connection = await _connect(dsn)
    try:
        # Never rolled back: closing the connection ends it, even in the middle of a copy.
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute(_NO_SORT)
        yield LogSnapshot(connection, await _read_head(connection))
    except _UNREADABLE as error:
        raise SourceUnreadableError(f"the log cannot be read: {error!r}") from error
    finally:
        connection.terminate()


async def read_head(dsn: str) -> HeadRow:
    """Read the head alone.

    Raises: SourceUnreadableError.
    """
    async with open_snapshot(dsn) as snapshot:
        return snapshot.head


async def _connect(dsn: str) -> Connection:
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0, server_settings=_SETTINGS
        )
    except (ValueError, *_UNREADABLE) as error:
        raise SourceUnreadableError(f"the database cannot be reached: {error}") from error


async def _read_head(connection: Connection) -> HeadRow:
    rows = await connection.fetch(_HEAD, timeout=STATEMENT_TIMEOUT_S)
    if len(rows) != 1:
        raise SourceUnreadableError(f"the log has {len(rows)} heads; it must have one")
    return HeadRow(**dict(rows[0].items()))
