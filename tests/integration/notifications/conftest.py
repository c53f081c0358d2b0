"""Owns the fixtures of the change feed: a database, two hand-fed logs, a server."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

import shared.eventstore
import shared.projections
from deploy.local.launcher import BackingServices
from services.notifications.changes.feed import ChangeFeed
from services.notifications.changes.limits import FeedLimits
from services.notifications.changes.routes import change_routes
from services.notifications.read_models.projection import CHANGES
from shared.clock import SystemClock
from shared.database.migrate import find_migrations, migrate
from shared.database.provision import DatabaseAccess, provision
from shared.http.routing import build_app
from shared.http.server import ServerLimits, serve
from shared.projections.read_models import ReadLimits, ReadModels
from shared.projections.writer import GenerationWriter
from tests.integration.notifications.hand_fed import HandFed
from tests.unit.http.sample_service import INFO, FakeAuthenticator

QUICK = FeedLimits(poll_interval_s=0.01)
_names = itertools.count()

MakeDatabase = Callable[[], Awaitable[DatabaseAccess]]
Serve = Callable[..., AbstractAsyncContextManager[tuple[ChangeFeed, aiohttp.ClientSession]]]


@pytest.fixture
def make_database(backing: BackingServices) -> MakeDatabase:
    async def make() -> DatabaseAccess:
        return await _database(backing)

    return make


async def _database(backing: BackingServices) -> DatabaseAccess:
    name = f"notifications_{next(_names)}"
    access = await provision(backing.postgres_dsn, name, "made-up")
    packages = ((shared.eventstore, "eventstore"), (shared.projections, "projections"))
    for package, component in packages:
        folder = Path(package.__path__[0]) / "migrations"
        await migrate(access.owner_dsn, find_migrations(component, folder))
    return access


async def _forget_generations(access: DatabaseAccess) -> None:
    """Leave the database as if the projection had never run: quicker than another database."""
    for dsn, statement in (
        (access.app_dsn, f"DROP SCHEMA IF EXISTS {CHANGES.schema(1)} CASCADE"),
        (access.owner_dsn, "TRUNCATE projections.active, projections.generations"),
    ):
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_database(backing: BackingServices) -> DatabaseAccess:
    return await _database(backing)


@pytest_asyncio.fixture
async def models(shared_database: DatabaseAccess) -> AsyncIterator[ReadModels]:
    access = shared_database
    await _forget_generations(access)
    limits = ReadLimits(look_interval_s=0.1, drain_s=0.5)
    models = ReadModels(access.app_dsn, CHANGES, SystemClock(), limits)
    await models.start()
    try:
        yield models
    finally:
        await models.stop()


@pytest_asyncio.fixture
async def estate(models: ReadModels) -> AsyncIterator[HandFed]:
    generation = await models.look()
    writer = GenerationWriter(CHANGES, generation, models)
    try:
        yield HandFed(models, writer)
    finally:
        writer.drop()


@asynccontextmanager
async def served(
    models: ReadModels, limits: FeedLimits
) -> AsyncIterator[tuple[ChangeFeed, aiohttp.ClientSession]]:
    """The feed on loopback, ended as a service ends it: streams first."""
    feed = ChangeFeed(models, limits)
    app = build_app(change_routes(feed), authenticator=FakeAuthenticator(), info=INFO)
    app.on_shutdown.append(feed.end_streams)
    await feed.start()
    try:
        server_limits = ServerLimits(lingering_s=0.2, shutdown_s=5.0, max_connections=500)
        async with (
            serve(app, "127.0.0.1", 0, limits=server_limits) as server,
            aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(limit=0)) as caller,
        ):
            yield feed, caller
    finally:
        await feed.stop()


@pytest.fixture
def serve_feed(models: ReadModels) -> Serve:
    def start(
        limits: FeedLimits = QUICK,
    ) -> AbstractAsyncContextManager[tuple[ChangeFeed, aiohttp.ClientSession]]:
        return served(models, limits)

    return start


@pytest_asyncio.fixture
async def caller(serve_feed: Serve) -> AsyncIterator[aiohttp.ClientSession]:
    async with serve_feed() as (_feed, caller):
        yield caller
