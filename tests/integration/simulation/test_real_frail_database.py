from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices
from shared.clock import SystemClock
from shared.eventstore.append import Connection
from tests.simulation.frail_contract import Frail, FrailContract
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.replicated import execute
from tests.support.throw_away import throw_away_servers

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[BackingServices]:
    """A PostgreSQL that these tests may hurt; it flushes on its own only after a long while."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("ESTATE_POSTGRES_DSN", raising=False)
        async with throw_away_servers(kafka=False) as services:
            await execute(services, "ALTER SYSTEM SET wal_writer_delay = '10s'")
            await execute(services, "SELECT pg_reload_conf()")
            yield services


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_databases(server: BackingServices) -> Databases:
    made = Databases(server.postgres_dsn)
    await made.prepare()
    return made


@pytest_asyncio.fixture
async def frail(server: BackingServices, own_databases: Databases) -> AsyncIterator[Frail]:
    dsn = (await own_databases.new()).app_dsn

    async def connect(synchronous_commit: str) -> Connection:
        settings = {"synchronous_commit": synchronous_commit}
        return await asyncpg.connect(dsn, timeout=10, server_settings=settings)

    @asynccontextmanager
    async def without_standby() -> AsyncIterator[None]:
        await wait_for_standby(server, "nobody")
        try:
            await eventually(commits_wait)
            yield
        finally:
            await wait_for_standby(server, "")

    async def commits_wait() -> bool:
        # Writers hear of it from the checkpointer, some time after the reload has returned.
        try:
            await execute(server, "SELECT pg_logical_emit_message(true, '', '')", timeout_s=1.0)
        except TimeoutError:
            return True
        return False

    async def is_waiting(connection: Connection) -> bool:
        statement = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1"
        return bool(await execute(server, statement, connection.get_server_pid()))

    async def terminate(connection: Connection) -> None:
        await execute(server, "SELECT pg_terminate_backend($1)", connection.get_server_pid())

    async def cancel(connection: Connection) -> None:
        await execute(server, "SELECT pg_cancel_backend($1)", connection.get_server_pid())

    async def crash() -> None:
        await server.kill_postgres()
        await server.start_postgres()

    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        yield Frail(
            pool=pool,
            clock=SystemClock(),
            connect=connect,
            without_standby=without_standby,
            is_waiting=is_waiting,
            terminate=terminate,
            cancel=cancel,
            crash=crash,
        )


async def wait_for_standby(server: BackingServices, name: str) -> None:
    await execute(server, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await execute(server, "SELECT pg_reload_conf()")


class TestRealFrailDatabase(FrailContract):
    """PostgreSQL does what the fake is held to."""
