import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from shared.eventstore.append import Connection
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_driver import FakeConnection, FakeDriver, fake_pool
from tests.simulation.fake_session import Session
from tests.simulation.fake_statements import fresh_log
from tests.simulation.frail_contract import Frail, FrailContract
from tests.simulation.network import Network
from tests.simulation.requests import LOG
from tests.unit.simulation.test_fake_database import DatabaseClock


@pytest.fixture
def frail() -> Frail:
    network = Network(random.Random(1), slowness_s=0.001)  # noqa: S311 - chance, no secret.
    database = FakeDatabase("registry", network)
    for table, rows in fresh_log(LOG).items():
        database.load(table, rows)
    driver = FakeDriver(database)

    async def connect(synchronous_commit: str) -> Connection:
        settings = {"synchronous_commit": synchronous_commit}
        return await driver.connect("", timeout=1.0, command_timeout=10.0, server_settings=settings)

    @asynccontextmanager
    async def without_standby() -> AsyncIterator[None]:
        database.set_standby(away=True)
        yield
        database.set_standby(away=False)

    async def is_waiting(connection: Connection) -> bool:
        return database.is_waiting(session_of(connection))

    async def terminate(connection: Connection) -> None:
        database.terminate(session_of(connection))

    async def cancel(_connection: Connection) -> None:
        database.cancel_waits("COMMIT")

    async def crash() -> None:
        database.crash(fail_over=False)

    return Frail(
        pool=fake_pool(database),
        clock=DatabaseClock(database),
        connect=connect,
        without_standby=without_standby,
        is_waiting=is_waiting,
        terminate=terminate,
        cancel=cancel,
        crash=crash,
    )


def session_of(connection: Connection) -> Session:
    return cast("FakeConnection", connection).session


class TestFakeFrailDatabase(FrailContract):
    """The fake does what PostgreSQL does when it is hurt."""
