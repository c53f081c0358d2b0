"""Owns the real servers that tests share, and a database for each test.

Must not start a server that no collected test asks for.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from deploy.local.config import from_environment
from deploy.local.launcher import BackingServices, KafkaAccess
from shared.database.provision import DatabaseAccess
from tests.support.databases import Databases
from tests.support.throw_away import throw_away_servers

NewDatabase = Callable[[], Awaitable[DatabaseAccess]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backing(request: pytest.FixtureRequest) -> AsyncIterator[BackingServices]:
    """PostgreSQL, and Kafka too if a collected test uses `kafka`; shared, so never to be stopped.

    Addresses in the environment win.
    """
    items = request.session.items
    kafka = any("kafka" in getattr(item, "fixturenames", ()) for item in items)
    async with throw_away_servers(kafka=kafka) as services:
        yield services


@pytest.fixture
def kafka(backing: BackingServices) -> KafkaAccess:
    """How to reach the session's Kafka."""
    return backing.kafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def databases(backing: BackingServices) -> AsyncIterator[Databases]:
    """Makes migrated databases on the session's server."""
    made = Databases(backing.postgres_dsn)
    await made.prepare()
    yield made
    if from_environment().postgres_dsn is not None:
        await made.drop_all()


@pytest_asyncio.fixture
async def database(databases: Databases) -> DatabaseAccess:
    """A fresh, migrated database with an empty registry log."""
    return await databases.new()


@pytest.fixture
def new_database(databases: Databases) -> NewDatabase:
    """Makes further databases as `database` is one."""
    return databases.new
