from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices
from shared.database.provision import DatabaseAccess
from shared.messaging.kafka import KafkaSettings
from tests.integration.messaging.log_under_test import (
    LogUnderTest,
    make_database,
    new_log_name,
    open_log,
    settings_for,
)
from tests.support.throw_away import throw_away_servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def messaging_backing() -> AsyncIterator[BackingServices]:
    """Servers of which these tests stop and kill one or the other."""
    async with throw_away_servers() as backing:
        yield backing


@pytest.fixture
def kafka(messaging_backing: BackingServices) -> KafkaSettings:
    return settings_for(messaging_backing.kafka)


@pytest_asyncio.fixture
async def access(messaging_backing: BackingServices) -> AsyncIterator[DatabaseAccess]:
    async with make_database(messaging_backing.postgres_dsn) as access:
        yield access


@pytest_asyncio.fixture
async def log(access: DatabaseAccess) -> AsyncIterator[LogUnderTest]:
    async with open_log(access, new_log_name()) as log:
        yield log
