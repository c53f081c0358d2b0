"""Owns a log in a database of its own, its writers as processes have them, and what it holds.

Must not write to the log by another way than a writer, except where a test says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from shared.clock import Clock, SystemClock, new_id
from shared.contracts.envelope import Event, leaf_of
from shared.database.provision import DatabaseAccess
from shared.eventstore.append import Connection
from shared.eventstore.merkle import Frontier
from shared.eventstore.reader import LogReader
from shared.eventstore.types import LookUp, Outcome, PendingCommand
from shared.eventstore.writer import BatchDone, LogWriter, WriterLimits
from tests.support.counting import CATEGORIES

QUICK = WriterLimits(
    statement_timeout_s=1.0, commit_deadline_s=1.0, resolve_deadline_s=2.0, clock_skew_max_s=60.0
)
APPLICATION = "writer under test"
BeforeCommit = Callable[["FaultyConnection"], Awaitable[None]]


class FaultyConnection(asyncpg.Connection):
    """A real connection to which something may happen around the COMMIT of a batch."""

    dsn = ""
    before_commit: BeforeCommit | None = None
    after_commit: BeforeCommit | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature.
        if query != "COMMIT":
            return str(await super().execute(query, *args, timeout=timeout))
        if self.before_commit is not None:
            await self.before_commit(self)
        done = str(await super().execute(query, *args, timeout=timeout))
        if self.after_commit is not None:
            await self.after_commit(self)
        return done


@dataclass
class Connecting:
    """How a writer gets its connections; `faults` are for the next one each, None for sound."""

    dsn: str
    lock_timeout: str = "5s"
    timeout_s: float = 2.0
    before_commit: list[BeforeCommit | None] = field(default_factory=list)
    after_commit: list[BeforeCommit | None] = field(default_factory=list)
    made: int = 0

    async def __call__(self) -> Connection:
        connection = await asyncpg.connect(
            self.dsn,
            timeout=self.timeout_s,
            connection_class=FaultyConnection,
            server_settings={
                "application_name": APPLICATION,
                "synchronous_commit": "on",
                "lock_timeout": self.lock_timeout,
            },
        )
        self.made += 1
        connection.dsn = self.dsn
        connection.before_commit = self.before_commit.pop(0) if self.before_commit else None
        connection.after_commit = self.after_commit.pop(0) if self.after_commit else None
        return connection


@dataclass(frozen=True)
class LogUnderTest:
    access: DatabaseAccess
    pool: "asyncpg.Pool[asyncpg.Record]"
    reader: LogReader

    @contextlib.asynccontextmanager
    async def writer(
        self,
        *,
        connecting: Connecting | None = None,
        clock: Clock | None = None,
        limits: WriterLimits | None = None,
        categories: Any = CATEGORIES,
        look_up: LookUp | None = None,
        on_batch: Callable[[BatchDone], None] = lambda _done: None,
    ) -> AsyncIterator[LogWriter]:
        """A writer as each process has one."""
        writer = LogWriter(
            connecting or self.connecting(),
            categories,
            clock or SystemClock(),
            new_id,
            limits=limits,
            look_up=look_up,
            on_batch=on_batch,
        )
        await writer.start()
        try:
            yield writer
        finally:
            await writer.stop()

    def connecting(self) -> Connecting:
        return Connecting(self.access.app_dsn)

    async def as_app(self, statement: str, *arguments: object) -> None:
        await self.pool.execute(statement, *arguments)

    async def as_owner(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.access.owner_dsn, timeout=5)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close(timeout=5)

    async def events(self) -> list[Event]:
        return await self.reader.after(0, 1_000_000)

    async def keys(self) -> list[str]:
        """The command key behind each event, in log order."""
        return [event.origin.causation_id for event in await self.events()]

    async def check(self) -> list[Event]:
        """The log is whole: no gap, no repeat, in order, and its tree is that of its rows."""
        rows = await self.pool.fetch(
            "SELECT position, stream, stream_version, type, recorded_at, leaf, body "
            "FROM log.events ORDER BY position"
        )
        events = await self.events()
        head = await self.reader.head()
        assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
        assert head.position == len(rows)
        versions: dict[str, int] = {}
        tree = Frontier(0, [])
        for row, event in zip(rows, events, strict=True):
            versions[row["stream"]] = versions.get(row["stream"], 0) + 1
            assert row["stream_version"] == versions[row["stream"]] == event.stream_version
            assert (row["position"], row["stream"]) == (event.position, event.stream)
            assert (row["type"], row["recorded_at"]) == (event.type, event.recorded_at)
            assert row["leaf"] == leaf_of(row["body"])
            tree.append(row["leaf"])
        assert head.root == tree.root()
        times = [row["recorded_at"] for row in rows]
        assert times == sorted(set(times)), "recorded time does not rise with every event"
        await self._check_commands(events)
        return events

    async def _check_commands(self, events: list[Event]) -> None:
        rows = await self.pool.fetch("SELECT key, first_position, last_position FROM log.commands")
        covered: list[int] = []
        for row in rows:
            if row["first_position"] is not None:
                positions = range(row["first_position"], row["last_position"] + 1)
                assert {events[p - 1].origin.causation_id for p in positions} == {row["key"]}
                covered += positions
        assert sorted(covered) == [event.position for event in events]


@contextlib.asynccontextmanager
async def open_log(access: DatabaseAccess) -> AsyncIterator[LogUnderTest]:
    """Read a log that was made by `Databases.new`."""
    async with asyncpg.create_pool(access.app_dsn, min_size=0, max_size=3, timeout=5) as pool:
        yield LogUnderTest(access, pool, LogReader(pool, "registry"))
        pool.terminate()


async def submit_all(writer: LogWriter, commands: list[PendingCommand]) -> list[Any]:
    """Outcomes and refusals, in order; all in one batch if they fit."""
    waiting = [writer.enqueue(command) for command in commands]
    return await asyncio.gather(*waiting, return_exceptions=True)


async def submit_until_taken(
    writer: LogWriter, command: PendingCommand, deadline_s: float = 30.0
) -> Outcome:
    """As a client does: the same command again, until there is an answer."""
    async with asyncio.timeout(deadline_s):
        while True:
            (result,) = await submit_all(writer, [command])
            if isinstance(result, Outcome):
                return result
            await asyncio.sleep(0.05)
