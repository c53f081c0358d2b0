import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices, backing_services
from shared.database.provision import DatabaseAccess
from shared.messaging.kafka import KafkaSettings
from tests.integration.messaging.log_under_test import (
    LogUnderTest,
    make_database,
    new_log_name,
    open_log,
    settings_for,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def messaging_backing() -> AsyncIterator[BackingServices]:
    # Not below pytest's own folder: a run beside this one would close it to the server's user.
    with tempfile.TemporaryDirectory(prefix="messaging-", ignore_cleanup_errors=True) as folder:
        async with backing_services(Path(folder)) as backing:
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
