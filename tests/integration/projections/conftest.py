import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices
from shared.clock import SystemClock
from shared.database.provision import DatabaseAccess
from tests.integration.projections.both_services import World, both_services
from tests.integration.projections.log_with_services import ServiceLog, make_database, open_log

Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest_asyncio.fixture
async def access(backing: BackingServices) -> DatabaseAccess:
    return await make_database(backing.postgres_dsn)


@pytest_asyncio.fixture
async def log(access: DatabaseAccess) -> AsyncIterator[ServiceLog]:
    async with open_log(access, "registry") as log:
        yield log


@pytest_asyncio.fixture
async def other_log(backing: BackingServices) -> AsyncIterator[ServiceLog]:
    access = await make_database(backing.postgres_dsn)
    async with open_log(access, "dependencies") as log:
        yield log


@pytest.fixture
def until() -> Until:
    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + 20
        while not await condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            await asyncio.sleep(0.01)

    return wait


class MovableClock(SystemClock):
    """The machine's clock until a test sets it."""

    def __init__(self) -> None:
        self.at: datetime | None = None

    def now(self) -> datetime:
        return self.at or super().now()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest_asyncio.fixture
async def world(
    log: ServiceLog, other_log: ServiceLog, clock: MovableClock
) -> AsyncIterator[World]:
    async with both_services(log, other_log, clock) as world:
        yield world
