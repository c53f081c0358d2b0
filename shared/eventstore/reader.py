"""Owns reading the log: its head, its events in order, one stream.

Must not write.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from shared.contracts.envelope import Event, parse_event
from shared.contracts.names import Position
from shared.eventstore.merkle import Frontier
from shared.eventstore.types import AnotherLogError

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

_OPEN: Final = "INSERT INTO log.head (log) VALUES ($1) ON CONFLICT DO NOTHING"
_WHOSE: Final = "SELECT log FROM log.head"
_CHECK_TIMEOUT_S: Final = 5.0
_HEAD: Final = """
SELECT log, timeline, publication, position, greatest(recorded_at, 'epoch') AS recorded_at, tree,
    halted
FROM log.head
"""
_AFTER: Final = """
SELECT body FROM log.events WHERE position > $1 ORDER BY position LIMIT $2
"""
_AT: Final = "SELECT body FROM log.events WHERE position = $1"
_STREAM: Final = """
SELECT body FROM log.events WHERE stream = $1 AND stream_version > $2
ORDER BY stream_version LIMIT $3
"""
_REPAIRS: Final = """
SELECT act, done_by, reason, lifted, position, timeline, publication, done_at
FROM log.repairs ORDER BY number
"""
_RECORDED_AT: Final = "SELECT recorded_at FROM log.events WHERE position = $1"


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where a log ends and what its tree's root is there."""

    log: str
    timeline: int
    publication: int
    position: int
    recorded_at: datetime
    root: bytes
    halted: str | None

    @property
    def where(self) -> Position:
        """The head as a position."""
        return Position(self.log, self.position, self.timeline)


@dataclass(frozen=True, slots=True)
class LogRepair:
    """What an operator did to the log as a whole; where it stood after it.

    `lifted` is the halt that it ended.
    """

    act: str
    done_by: str
    reason: str
    lifted: str | None
    position: int
    timeline: int
    publication: int
    done_at: datetime


async def open_log(connection: Connection, log: str) -> None:
    """Make the empty log if there is none yet.

    Raises: AnotherLogError when the database belongs to another log.
    """
    await connection.execute(_OPEN, log)
    await check_log(connection, log)


async def check_log(connection: Connection, log: str) -> None:
    """Make sure that the database is this log's, or no log's yet.

    Raises: AnotherLogError.
    """
    found = await connection.fetchval(_WHOSE, timeout=_CHECK_TIMEOUT_S)
    if found not in {log, None}:
        raise AnotherLogError(log, found)


class LogReader:
    """Reads one log over a pool; every answer is of committed events only."""

    def __init__(self, pool: Pool, log: str, *, timeout_s: float = 10.0) -> None:
        self.log = log
        self._pool = pool
        self._timeout_s = timeout_s

    async def open(self) -> None:
        """Make the empty log if there is none yet.

        Raises: AnotherLogError when the database belongs to another log.
        """
        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            await open_log(connection, self.log)

    async def head(self) -> LogHead:
        """Read the head.

        Raises: LookupError when the log was never opened.
        """
        row = await self._pool.fetchrow(_HEAD, timeout=self._timeout_s)
        if row is None:
            raise LookupError("the log was never opened")
        return LogHead(
            log=row["log"],
            timeline=row["timeline"],
            publication=row["publication"],
            position=row["position"],
            recorded_at=row["recorded_at"],
            root=Frontier.from_bytes(row["position"], row["tree"]).root(),
            halted=row["halted"],
        )

    async def repairs(self) -> list[LogRepair]:
        """Read what operators did to the log, first to last."""
        rows = await self._pool.fetch(_REPAIRS, timeout=self._timeout_s)
        return [LogRepair(*row) for row in rows]

    async def after(self, position: int, limit: int) -> list[Event]:
        """Read at most `limit` events behind `position` (exclusive; 0 = start), ascending."""
        rows = await self._pool.fetch(_AFTER, position, limit, timeout=self._timeout_s)
        return [parse_event(row["body"]) for row in rows]

    async def bodies_after(self, position: int, limit: int) -> list[bytes]:
        """Read the bytes alone, for whoever passes them on."""
        rows = await self._pool.fetch(_AFTER, position, limit, timeout=self._timeout_s)
        return [row["body"] for row in rows]

    async def at(self, position: int) -> Event | None:
        """Read one event."""
        body = await self._pool.fetchval(_AT, position, timeout=self._timeout_s)
        return None if body is None else parse_event(body)

    async def stream(self, stream: str, after_version: int, limit: int) -> list[Event]:
        """Read at most `limit` events of a stream behind a version (exclusive), ascending."""
        rows = await self._pool.fetch(
            _STREAM, stream, after_version, limit, timeout=self._timeout_s
        )
        return [parse_event(row["body"]) for row in rows]

    async def position_at(self, instant: datetime) -> int:
        """The last position recorded at or before an instant; 0 when there is none.

        Recorded time rises with position, so this is a binary search: some 20 look-ups by key.
        """
        low, high = 0, (await self.head()).position
        while low < high:
            middle = (low + high + 1) // 2
            recorded_at = await self._pool.fetchval(_RECORDED_AT, middle, timeout=self._timeout_s)
            if recorded_at <= instant:
                low = middle
            else:
                high = middle - 1
        return low


class HeadSignal:
    """Wakes whoever follows the log in this process when the writer has appended."""

    def __init__(self) -> None:
        self._position = 0
        self._changed = asyncio.Event()

    def announce(self, position: int) -> None:
        """Say that the log now ends at `position`."""
        self._position = max(self._position, position)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return once the log is known to end behind `after`, or after `timeout_s` at the latest.

        The wait is only a hint: other processes append too, so the caller reads in any case.
        """
        if self._position > after:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return
