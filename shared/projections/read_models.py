"""Owns the connections through which a service reads a projection: one pool per generation.

Must not write to a projection, and must not fail a reader because a generation has changed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

import asyncpg
import structlog

from shared.background import Background
from shared.clock import Clock
from shared.contracts.names import Position
from shared.database.sessions import leave_as_it_is, session_settings
from shared.projections.applying import TRANSIENT
from shared.projections.generations import Generation, ensure_first
from shared.projections.projection import Connection, Projection

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_log = structlog.get_logger(__name__)

_MEMORY: Final = {"maintenance_work_mem": "256MB", "work_mem": "64MB"}
"""What a rebuild may take at the server, so that indexes and derived rows are sorted in memory."""

_REFLECTION: Final = (
    "SELECT log, timeline, position, recorded_at, head FROM checkpoint ORDER BY log"
)


class Driver(Protocol):
    """What makes connections: asyncpg itself, or what behaves like it."""

    def connect(
        self,
        dsn: str,
        *,
        timeout: float,
        command_timeout: float,
        server_settings: dict[str, str],
    ) -> "Awaitable[asyncpg.Connection[asyncpg.Record]]":
        """Connect once."""
        ...

    def create_pool(
        self,
        dsn: str,
        *,
        min_size: int,
        max_size: int,
        timeout: float,
        command_timeout: float,
        reset: Callable[[Any], Awaitable[None]],
        server_settings: dict[str, str],
    ) -> Pool:
        """Make a pool that connects when it is awaited."""
        ...


class ReadModelUnavailableError(Exception):
    """There is no generation to read from yet; the database was not reachable since the start."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds of a projection's read pools."""

    pool_min: int = 1
    pool_max: int = 8
    connect_timeout_s: float = 5.0
    command_timeout_s: float = 10.0
    write_timeout_s: float = 30.0
    rebuild_timeout_s: float = 3600.0
    look_interval_s: float = 0.5
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Reflection:
    """What an answer reflects: a position per log, and how far behind that is.

    `lag_ms` is 0 when every log was read to its known head, else the age of the last event applied.
    """

    positions: Mapping[str, Position]
    lag_ms: int

    def __str__(self) -> str:
        return ",".join(str(position) for position in self.positions.values())


class ReadModels:
    """The serving generation of one projection, for readers and for its runner.

    A flip is noticed within `look_interval_s`; readers of the old generation finish undisturbed.
    """

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        clock: Clock,
        limits: ReadLimits | None = None,
        *,
        driver: Driver = asyncpg,
    ) -> None:
        self.projection = projection
        self._dsn = dsn
        self._driver = driver
        self._clock = clock
        self._limits = limits or ReadLimits()
        self._generation: Generation | None = None
        self._pool: Pool | None = None
        self._control: asyncpg.Connection[asyncpg.Record] | None = None
        self._looking = asyncio.Lock()
        self._background = Background(f"{projection.name} generation", self._keep_looking)
        self._draining: set[asyncio.Task[None]] = set()
        self._advanced = asyncio.Event()

    async def start(self) -> None:
        """Open the pool, making generation 1 when there is none; keep trying when that fails."""
        with contextlib.suppress(*TRANSIENT):
            await self.look()
        self._background.start()

    async def stop(self) -> None:
        """Close all pools."""
        await self._background.stop()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if self._pool is not None:
            await _close(self._pool, self._limits.connect_timeout_s)
            self._pool = None
        if self._control is not None:
            self._control.terminate()

    @property
    def generation(self) -> Generation | None:
        """The generation that serves, as last looked at; None before the first look succeeded."""
        return self._generation

    @property
    def pool(self) -> Pool:
        """The serving generation's read-only pool. Take it anew for each request.

        Raises: ReadModelUnavailableError.
        """
        if self._pool is None:
            raise ReadModelUnavailableError(self.projection.name)
        return self._pool

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection on which all statements see one state of one generation.

        Raises: ReadModelUnavailableError.
        """
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def reflection(self, connection: Connection) -> Reflection:
        """What this connection's generation reflects now; within a snapshot, in that snapshot."""
        now = self._clock.now()
        positions: dict[str, Position] = {}
        lag_ms = 0
        for log, timeline, position, recorded_at, head in await connection.fetch(_REFLECTION):
            positions[log] = Position(log, position, timeline)
            if position < head:
                lag_ms = max(lag_ms, _milliseconds(recorded_at, now))
        return Reflection(positions, lag_ms)

    async def look(self) -> Generation:
        """Find out which generation serves, and serve it from now on."""
        async with self._looking:
            found = await self._find()
            if self._generation is None or found.number != self._generation.number:
                await self._serve(found)
            self._generation = found
            return found

    async def connect(
        self, generation: Generation | None, *, for_rebuild: bool = False
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of its own, allowed to write, into a generation; the caller closes it.

        Commits do not wait for the disk: rows and checkpoint are lost together or not at all.
        """
        limits = self._limits
        timeout_s = limits.rebuild_timeout_s if for_rebuild else limits.write_timeout_s
        settings = session_settings(f"projection {self.projection.name}", 2 * timeout_s)
        if for_rebuild:
            settings |= _MEMORY
        if generation is not None:
            settings["search_path"] = self.projection.schema(generation.number)
            settings["synchronous_commit"] = "off"
        return await self._driver.connect(
            self._dsn,
            timeout=self._limits.connect_timeout_s,
            command_timeout=timeout_s,
            server_settings=settings,
        )

    @asynccontextmanager
    async def connected(
        self, generation: Generation | None
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """As `connect`, for work as long as a rebuild's, and closed at the end."""
        connection = await self.connect(generation, for_rebuild=True)
        try:
            yield connection
        finally:
            connection.terminate()

    def announce(self) -> None:
        """Wake who waits for positions: the runner of this process has committed a batch."""
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()

    async def wait_for_advance(self, timeout_s: float) -> None:
        """Return at the next announcement, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._advanced.wait()

    async def _find(self) -> Generation:
        if self._control is None or self._control.is_closed():
            self._control = await self.connect(None)
        try:
            return await ensure_first(self._control, self.projection, self._clock.now())
        except TRANSIENT:
            self._control.terminate()
            raise

    async def _serve(self, generation: Generation) -> None:
        old, self._pool = self._pool, await self._open_pool(generation)
        if old is not None:
            task = asyncio.create_task(self._drain(old), name="read-models-drain")
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
        _log.info(
            "generation_served", projection=self.projection.name, generation=generation.number
        )

    async def _open_pool(self, generation: Generation) -> Pool:
        pool = self._driver.create_pool(
            self._dsn,
            min_size=self._limits.pool_min,
            max_size=self._limits.pool_max,
            timeout=self._limits.connect_timeout_s,
            command_timeout=self._limits.command_timeout_s,
            reset=leave_as_it_is,
            server_settings={
                "application_name": f"reads {self.projection.name}",
                "search_path": self.projection.schema(generation.number),
                "default_transaction_read_only": "on",
            },
        )
        await pool
        return pool

    async def _drain(self, pool: Pool) -> None:
        """Close an old pool once who took it before the change has surely finished."""
        try:
            await asyncio.sleep(self._limits.drain_s)
        finally:
            await _close(pool, self._limits.drain_s)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._limits.look_interval_s)
            try:
                await self.look()
            except TRANSIENT as error:
                _log.warning(
                    "generation_not_read", projection=self.projection.name, error=repr(error)
                )


async def _close(pool: Pool, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _milliseconds(since: datetime, now: datetime) -> int:
    return max(0, int((now - since).total_seconds() * 1000))
