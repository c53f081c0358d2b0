"""The disk of the log's PostgreSQL, or of Kafka, is full under a real registry and its topic."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices, KafkaAccess
from deploy.local.readiness import listens
from shared.messaging.kafka import KafkaSettings
from tests.faults.held_log import faults_of_topic
from tests.integration.messaging.topics import forget_topics
from tests.support.eventually import eventually
from tests.support.served_registry import LOG, ServedRegistry, serving_registry
from tests.support.small_disk import (
    NoSmallDiskError,
    SmallDisk,
    kafka_on_small_disk,
    postgres_on_small_disk,
)

_RECOVERY_S = 60.0
_BROKER_RECOVERY_S = 100.0


@contextlib.asynccontextmanager
async def or_skipped(
    server: contextlib.AbstractAsyncContextManager[SmallDisk],
) -> AsyncIterator[SmallDisk]:
    """The server, or no test where it cannot be had."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            disk = await stack.enter_async_context(server)
        except NoSmallDiskError as error:
            pytest.skip(f"no file system can be made here: {error}")
        yield disk


@pytest_asyncio.fixture
async def disk() -> AsyncIterator[SmallDisk]:
    async with or_skipped(postgres_on_small_disk()) as disk:
        yield disk


@pytest_asyncio.fixture
async def registry(
    disk: SmallDisk, messaging_backing: BackingServices, kafka: KafkaSettings
) -> AsyncIterator[ServedRegistry]:
    async with serving_registry(disk.address, messaging_backing.kafka) as registry:
        yield registry
    await forget_topics(kafka, LOG)


async def test_a_full_disk_is_never_acknowledged_upon_and_is_recovered_from_with_its_space(
    disk: SmallDisk, registry: ServedRegistry
) -> None:
    async with asyncio.timeout(_RECOVERY_S), registry.under_load(3):
        await eventually(lambda: len(registry.acknowledged) > 20)
        await asyncio.to_thread(disk.fill)
        await eventually(lambda: refused(registry), _RECOVERY_S)
        assert (await registry.get("/v1/organisations?limit=1")).status == 200
        # The next segment of the WAL finds no room either, and the whole server goes down.
        await eventually(lambda: is_down(disk), _RECOVERY_S)
        await until_ready(registry, 503)
        before = len(registry.acknowledged)
        assert (await registry.command("refused")).status == 503
        disk.give_back()
        await eventually(lambda: len(registry.acknowledged) > before + 20, _RECOVERY_S)
    await until_ready(registry, 200)
    await registry.settle("last")
    await eventually(lambda: all_published(registry))
    await registry.check()


async def refused(registry: ServedRegistry) -> bool:
    return (await registry.command("refused")).problem == "not-ready"


async def is_down(disk: SmallDisk) -> bool:
    try:
        connection = await asyncpg.connect(disk.address, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return True
    try:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.execute("SELECT pg_switch_wal()", timeout=5)
    finally:
        connection.terminate()
    return False


async def until_ready(registry: ServedRegistry, status: int) -> None:
    async def says() -> bool:
        return (await registry.get("/readyz")).status == status

    await eventually(says, _RECOVERY_S)


async def all_published(registry: ServedRegistry) -> bool:
    return not await faults_of_topic(await registry.held(), registry.kafka)


@pytest.mark.slow
async def test_a_broker_s_full_disk_holds_up_publication_alone_until_it_has_space(
    messaging_backing: BackingServices,
) -> None:
    async with (
        or_skipped(kafka_on_small_disk()) as disk,
        serving_registry(messaging_backing.postgres_dsn, KafkaAccess(disk.address)) as registry,
    ):
        async with asyncio.timeout(_BROKER_RECOVERY_S), registry.under_load(3):
            await eventually(lambda: len(registry.acknowledged) > 20)
            await asyncio.to_thread(disk.fill)
            await eventually(lambda: refuses_connections(disk), _BROKER_RECOVERY_S)
            before = len(registry.acknowledged)
            await eventually(lambda: len(registry.acknowledged) > before + 20)
            disk.give_back()
            await eventually(lambda: listens(disk.address), _BROKER_RECOVERY_S)
        await registry.settle("last")
        await eventually(lambda: all_published(registry), _RECOVERY_S)
        await until_ready(registry, 200)
        await registry.check()


async def refuses_connections(disk: SmallDisk) -> bool:
    return not await listens(disk.address)
