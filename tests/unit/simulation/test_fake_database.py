import asyncio
import random

import pytest

from shared.clock import Clock
from tests.simulation.database_contract import DatabaseContract, Served
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_driver import FakeDriver, fake_pool
from tests.simulation.fake_read_model import SCHEMA, fresh_generation
from tests.simulation.fake_session import Session
from tests.simulation.fake_statements import fresh_log
from tests.simulation.network import Network
from tests.simulation.requests import LOG
from tests.simulation.virtual_time import START


class DatabaseClock:
    """The fake server's own time."""

    def __init__(self, database: FakeDatabase) -> None:
        self.now = database.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def served() -> Served:
    database = FakeDatabase("registry", Network(random.Random(1)))  # noqa: S311 - chance, no secret.
    for table, rows in (fresh_log(LOG) | fresh_generation(LOG, START)).items():
        database.load(table, rows)
    driver = FakeDriver(database)
    clock: Clock = DatabaseClock(database)

    async def contents(table: str, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
        rows = Session(database, None).rows((SCHEMA, table))
        return sorted(tuple(row[column] for column in columns) for _, row in rows)

    return Served(
        pool=fake_pool(database),
        connect=lambda: driver.connect(
            "", timeout=1.0, command_timeout=5.0, server_settings={"lock_timeout": "0.2s"}
        ),
        driver=driver,
        dsn="",
        clock=clock,
        contents=contents,
    )


class TestFakeDatabase(DatabaseContract):
    """The fake does what PostgreSQL does."""
