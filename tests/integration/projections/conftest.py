import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices, backing_services
from shared.clock import SystemClock
from shared.database.provision import DatabaseAccess
from tests.integration.projections.both_services import World, both_services
from tests.integration.projections.log_with_services import ServiceLog, make_database, open_log

Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def projections_backing() -> AsyncIterator[BackingServices]:
    # Not below pytest's own folder: a run beside this one would close it to the server's user.
    with tempfile.TemporaryDirectory(prefix="projections-", ignore_cleanup_errors=True) as folder:
        async with backing_services(Path(folder), kafka=False) as backing:
            yield backing


@pytest_asyncio.fixture
async def access(projections_backing: BackingServices) -> DatabaseAccess:
    return await make_database(projections_backing.postgres_dsn)


@pytest_asyncio.fixture
async def log(access: DatabaseAccess) -> AsyncIterator[ServiceLog]:
    async with open_log(access, "registry") as log:
        yield log


@pytest_asyncio.fixture
async def other_log(projections_backing: BackingServices) -> AsyncIterator[ServiceLog]:
    access = await make_database(projections_backing.postgres_dsn)
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
