"""Owns the life of a service's parts: started in order, stopped in reverse, signals obeyed.

Must not know what the parts do.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

import asyncpg
import structlog
from aiohttp import web

from shared.database.errors import UNREACHABLE
from shared.database.sessions import leave_as_it_is, session_settings
from shared.eventstore.reader import check_log
from shared.http.server import RunningServer, serve

_log = structlog.get_logger(__name__)

POOL_TRANSACTION_S: Final = 15.0
_LOOK_TIMEOUT_S: Final = 5.0


class Component(Protocol):
    """Something with a life: a pool, a writer, a relay, a runner."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class PoolComponent:
    """A pool that may be made while its database is away."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool = pool

    async def start(self) -> None:
        """Begin; no connection is made yet."""
        await self.pool

    async def stop(self) -> None:
        """Close every connection, whether it is idle or not."""
        self.pool.terminate()


class OwnLog:
    """Refuses to start on the database of another log; one that is away is looked at later."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", log: str) -> None:
        self._pool = pool
        self._log = log

    async def start(self) -> None:
        """Look whose database it is.

        Raises: AnotherLogError.
        """
        with contextlib.suppress(*UNREACHABLE, asyncpg.UndefinedTableError):
            async with self._pool.acquire(timeout=_LOOK_TIMEOUT_S) as connection:
                await check_log(connection, self._log)

    async def stop(self) -> None:
        """Nothing is held."""


def make_pool(dsn: str, application: str, max_size: int = 8) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool that connects when first needed."""
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        timeout=5,
        command_timeout=10,
        reset=leave_as_it_is,
        server_settings=session_settings(application, POOL_TRANSACTION_S),
    )


@asynccontextmanager
async def running(components: Sequence[Component]) -> AsyncIterator[None]:
    """Keep the components running while the context is open."""
    async with AsyncExitStack() as stack:
        for component in components:
            stack.push_async_callback(component.stop)
            await component.start()
        yield


async def run_service(
    name: str, app: web.Application, host: str, port: int, components: Sequence[Component]
) -> None:
    """Serve until SIGTERM or SIGINT, then stop taking requests first and the parts after."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(components), serve(app, host, port) as server:
        _announce(name, server)
        await stopping.wait()
        _log.info("service_stopping", service=name)
    _log.info("service_stopped", service=name)


def _announce(name: str, server: RunningServer) -> None:
    _log.info("service_started", service=name, url=server.url, port=server.port)
