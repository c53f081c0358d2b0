from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from shared.clock import SystemClock
from shared.database.provision import DatabaseAccess
from shared.eventstore.append import Connection
from tests.simulation.database_contract import DatabaseContract, Served
from tests.simulation.fake_read_model import SCHEMA


@pytest_asyncio.fixture
async def served(database: DatabaseAccess) -> AsyncIterator[Served]:
    dsn = database.app_dsn

    async def connect() -> Connection:
        return await asyncpg.connect(dsn, server_settings={"lock_timeout": "200ms"})

    async def contents(table: str, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
        rows = await pool.fetch(f"SELECT {', '.join(columns)} FROM {SCHEMA}.{table}")
        return sorted(tuple(row.values()) for row in rows)

    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        yield Served(pool, connect, asyncpg, dsn, SystemClock(), contents)


class TestRealDatabase(DatabaseContract):
    """PostgreSQL does what the fake is held to."""
