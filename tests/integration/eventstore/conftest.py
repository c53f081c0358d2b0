from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices
from shared.database.provision import DatabaseAccess
from tests.integration.eventstore.log_under_test import LogUnderTest, open_log
from tests.support.databases import Databases
from tests.support.throw_away import throw_away_servers


@pytest_asyncio.fixture
async def log(database: DatabaseAccess) -> AsyncIterator[LogUnderTest]:
    async with open_log(database) as log:
        yield log


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_server() -> AsyncIterator[BackingServices]:
    """A PostgreSQL that tests may stop, freeze and set up; whoever does puts it right again."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("ESTATE_POSTGRES_DSN", raising=False)
        async with throw_away_servers(kafka=False) as services:
            yield services


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_databases(own_server: BackingServices) -> Databases:
    made = Databases(own_server.postgres_dsn)
    await made.prepare()
    return made


@pytest_asyncio.fixture
async def frail(own_databases: Databases) -> AsyncIterator[LogUnderTest]:
    """A log on the server that may fail."""
    async with open_log(await own_databases.new()) as log:
        yield log
