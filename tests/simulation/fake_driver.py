"""Owns the fake database as its clients see it: connections and pools in the words of asyncpg.

Must offer no more of asyncpg than is used.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from shared.eventstore.append import Connection
from shared.eventstore.reader import Pool
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_read_model import ALL_STATEMENTS, copied_rows, replacing
from tests.simulation.fake_session import Session
from tests.simulation.fake_statements import Does, copied


class FakeConnection:
    """One connection; a call on it while it is lost fails as asyncpg's does."""

    def __init__(self, session: Session, timeout_s: float | None = None) -> None:
        self.session = session
        self._timeout_s = timeout_s
        self._closed = False

    def is_closed(self) -> bool:
        return self._closed

    def terminate(self) -> None:
        if not self._closed:
            self._closed = True
            self.session.database.give_up(self.session)

    def add_log_listener(self, listener: Callable[[Any, Any], None]) -> None:
        self.session.listeners.append(listener)

    def remove_log_listener(self, listener: Callable[[Any, Any], None]) -> None:
        self.session.listeners.remove(listener)

    async def fetch(self, text: str, *args: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109 - asyncpg's own signature.
        name, does = self._known(text)
        return await self._ask(name, does, args, timeout)

    def _known(self, text: str) -> tuple[str, Does]:
        """Find what a statement does; what nobody has taught the fake is a fault of the run."""
        if text not in ALL_STATEMENTS:
            self.session.database.unknown.append(text)
            raise NotImplementedError(text)
        return ALL_STATEMENTS[text]

    async def execute(self, text: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - as above.
        await self.fetch(text, *args, timeout=timeout)
        return ""

    async def fetchrow(self, text: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as above.
        return next(iter(await self.fetch(text, *args, timeout=timeout)), None)

    async def fetchval(self, text: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as above.
        row = await self.fetchrow(text, *args, timeout=timeout)
        return None if row is None else row[0]

    async def executemany(self, text: str, rows: Iterable[tuple[Any, ...]]) -> None:
        await self._ask("replace rows", replacing(text, list(rows)), (), None)

    async def copy_records_to_table(
        self,
        table: str,
        *,
        columns: Iterable[str],
        records: Iterable[tuple[Any, ...]],
        schema_name: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above.
    ) -> None:
        kept = list(records)
        does = (copied if schema_name else copied_rows)(table, tuple(columns), kept)
        await self._ask(f"copy {table}", does, (), timeout)

    @asynccontextmanager
    async def transaction(self, **_options: Any) -> AsyncIterator[None]:
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")

    async def _ask(
        self, name: str, does: Does, args: tuple[Any, ...], timeout_s: float | None
    ) -> list[Any]:
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        try:
            rows: list[Any] = await self.session.database.ask(
                self.session, name, lambda s: list(does(s, args)), timeout_s or self._timeout_s
            )
        except asyncpg.ConnectionDoesNotExistError:
            self._closed = True
            raise
        return rows


class FakePool:
    """A pool that never lacks a connection as long as the server is there."""

    def __init__(self, database: FakeDatabase, **settings: Any) -> None:
        self._database = database
        self._settings = settings

    def __await__(self) -> Generator[Any, None, "FakePool"]:
        return self._opened().__await__()

    async def _opened(self) -> "FakePool":
        self._database.give_up(await self._database.connect())
        return self

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> AsyncIterator[FakeConnection]:  # noqa: ASYNC109 - asyncpg's own signature.
        del timeout
        connection = FakeConnection(self._database.take(**self._settings))
        try:
            yield connection
        finally:
            connection.terminate()

    async def execute(self, text: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - as above.
        await self.fetch(text, *args, timeout=timeout)
        return ""

    async def fetch(self, text: str, *args: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109 - as above.
        connection = FakeConnection(self._database.take(**self._settings))
        try:
            return await connection.fetch(text, *args, timeout=timeout)
        finally:
            connection.terminate()

    async def fetchrow(self, text: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as above.
        return next(iter(await self.fetch(text, *args, timeout=timeout)), None)

    async def fetchval(self, text: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as above.
        row = await self.fetchrow(text, *args, timeout=timeout)
        return None if row is None else row[0]

    async def close(self) -> None:
        """Every connection is let go when it is given back."""

    def terminate(self) -> None:
        """As `close`."""


class FakeDriver:
    """Makes connections to one database, whatever address is given; implements `Driver`."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def connect(
        self,
        _dsn: str,
        *,
        timeout: float,  # noqa: ASYNC109 - asyncpg's own signature.
        command_timeout: float,
        server_settings: dict[str, str],
    ) -> Connection:
        async with asyncio.timeout(timeout):
            session = await self._database.connect(
                schema=server_settings.get("search_path", ""),
                is_durable=server_settings.get("synchronous_commit") != "off",
                lock_timeout_s=_seconds(server_settings.get("lock_timeout")),
                transaction_timeout_s=_seconds(server_settings.get("transaction_timeout")),
            )
        return cast("Connection", FakeConnection(session, command_timeout))

    def create_pool(
        self,
        _dsn: str,
        *,
        min_size: int,
        max_size: int,
        timeout: float,
        command_timeout: float,
        reset: Callable[[Any], Awaitable[None]],
        server_settings: dict[str, str],
    ) -> Pool:
        del min_size, max_size, timeout, command_timeout, reset
        return cast("Pool", FakePool(self._database, schema=server_settings.get("search_path", "")))


def fake_pool(database: FakeDatabase, transaction_timeout_s: float | None = None) -> Pool:
    """A pool as the parts of a service take one."""
    return cast("Pool", FakePool(database, transaction_timeout_s=transaction_timeout_s))


def _seconds(setting: str | None) -> float | None:
    if setting is None:
        return None
    return float(setting[:-1]) if setting.endswith("s") else float(setting) / 1000
