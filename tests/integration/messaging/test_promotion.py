"""The log's PostgreSQL dies and its standby is promoted, under a real registry and its topic."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from deploy.local.launcher import BackingServices
from shared.contracts.topics import events_topic
from shared.eventstore.types import LogHaltedError
from shared.messaging.kafka import KafkaSettings
from shared.messaging.relay import RelayLimits
from tests.integration.messaging.log_under_test import (
    make_database,
    new_log_name,
    open_log,
    positions,
    read_topic,
    relaying,
    rename,
)
from tests.integration.messaging.topics import forget_topics
from tests.support.eventually import eventually
from tests.support.replicated import Replicated, execute, replicated
from tests.support.served_registry import LOG, ServedRegistry, Told, key_of, serving_registry

TOPIC = events_topic(LOG, 1)
_RECOVERY_S = 60.0


@pytest_asyncio.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replicated]:
    monkeypatch.delenv("ESTATE_POSTGRES_DSN", raising=False)
    async with replicated() as pair:
        yield pair


@pytest_asyncio.fixture
async def registry(
    pair: Replicated, messaging_backing: BackingServices, kafka: KafkaSettings
) -> AsyncIterator[ServedRegistry]:
    async with serving_registry(pair.dsn, messaging_backing.kafka) as registry:
        yield registry
    await forget_topics(kafka, LOG)


async def published(kafka: KafkaSettings) -> list[bytes | None]:
    return [record.value for record in await read_topic(kafka, TOPIC)]


async def until_published(kafka: KafkaSettings, position: int) -> None:
    async def is_there() -> bool:
        return positions(await read_topic(kafka, TOPIC))[-1:] == [position]

    await eventually(is_there, _RECOVERY_S)


async def until_told(ask: Callable[[], Awaitable[Told]], status: int, problem: str = "") -> Told:
    """Ask until the answer is this one."""
    async with asyncio.timeout(_RECOVERY_S):
        while True:
            told = await ask()
            if (told.status, told.problem) == (status, problem):
                return told
            await asyncio.sleep(0.05)


async def ahead_of_the_standby(
    pair: Replicated, registry: ServedRegistry, kafka: KafkaSettings
) -> list[bytes | None]:
    """Have the topic hold eight events, of which the standby lacks the last three; return it."""
    for number in range(5):
        await registry.settle(f"kept-{number}")
    await pair.caught_up()
    await pair.cut()
    for number in range(3):
        await registry.settle(f"lost-{number}")
    await until_published(kafka, 8)
    return await published(kafka)


async def test_a_promotion_that_lost_published_events_halts_the_log_and_reads_go_on(
    pair: Replicated, registry: ServedRegistry, kafka: KafkaSettings
) -> None:
    before = await ahead_of_the_standby(pair, registry, kafka)
    await pair.fail_over()
    # What is accepted until the fork is noticed takes positions that are on the topic already.
    number = 0
    async with asyncio.timeout(_RECOVERY_S):
        while (told := await registry.command(f"after-{number}")).problem != "log-halted":
            number += told.status in {200, 201}
            assert told.status in {0, 200, 201, 503}
    log = await until_told(lambda: registry.get("/v1/log"), 200)
    assert log.document["halted"].startswith("relay: ")
    await until_told(lambda: registry.get("/v1/organisations?limit=1"), 200)
    assert (await registry.command("too-late")).problem == "log-halted"
    ready = await until_told(lambda: registry.get("/readyz"), 200)
    assert "stopped:" in str(ready.document)
    held = await registry.held()
    assert await published(kafka) == before
    assert [e.body for e in held.events[:5]] == before[:5]
    assert held.head == 5 + number
    assert key_of("too-late") not in held.commands


async def test_what_no_standby_confirmed_is_not_published_and_is_gone_after_the_promotion(
    pair: Replicated, registry: ServedRegistry, kafka: KafkaSettings
) -> None:
    await registry.settle("kept")
    await pair.make_synchronous()
    await registry.settle("confirmed")
    await until_published(kafka, 2)
    await pair.cut()
    asked = asyncio.create_task(registry.settle("unconfirmed"))

    async def visible_but_not_published() -> bool:
        """As an impatient operator does, who makes the primary show what it alone has."""
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await execute(pair.primary, f"SELECT count(pg_cancel_backend(pid)) {waiting}")
        return (await registry.held()).head == 3

    await eventually(visible_but_not_published)
    for _ in range(50):
        assert await visible_but_not_published()
    assert positions(await read_topic(kafka, TOPIC)) == [1, 2]
    assert "unconfirmed" not in registry.acknowledged
    await pair.fail_over()
    async with asyncio.timeout(_RECOVERY_S):
        await asked
    await until_published(kafka, 3)
    await registry.check()


async def test_with_a_synchronous_standby_nothing_acknowledged_is_lost_and_the_topic_goes_on(
    pair: Replicated, registry: ServedRegistry, kafka: KafkaSettings
) -> None:
    await pair.make_synchronous()
    async with asyncio.timeout(_RECOVERY_S), registry.under_load(4):
        await eventually(lambda: len(registry.acknowledged) > 40)
        await pair.fail_over()
        before = len(registry.acknowledged)
        await eventually(lambda: len(registry.acknowledged) > before + 40, _RECOVERY_S)
    await until_published(kafka, (await registry.held()).head)
    await registry.check()
    assert (await registry.get("/v1/log")).document["halted"] is None


async def test_a_process_frozen_through_the_promotion_publishes_nothing_behind_the_fork(
    pair: Replicated, registry: ServedRegistry, kafka: KafkaSettings
) -> None:
    before = await ahead_of_the_standby(pair, registry, kafka)
    async with registry.beside() as other:
        assert registry.process.process is not None
        registry.process.process.send_signal(signal.SIGSTOP)
        await pair.fail_over()
        for number in range(4):
            await other.settle(f"after-{number}")
        registry.process.process.send_signal(signal.SIGCONT)
        await until_told(lambda: other.command("too-late"), 503, "log-halted")
    assert await published(kafka) == before


async def test_a_relay_that_met_no_error_during_the_promotion_notices_the_fork(
    pair: Replicated, kafka: KafkaSettings
) -> None:
    name, idle = new_log_name(), RelayLimits(poll_interval_s=3.0)
    async with (
        make_database(pair.dsn) as access,
        open_log(access, name) as log,
        relaying(log, kafka, idle) as relay,
    ):
        await log.fill(5)
        await eventually(lambda: relay.status.position == 5)
        await pair.caught_up()
        await pair.cut()
        await log.fill(3)
        await eventually(lambda: relay.status.position == 8)
        await pair.fail_over()
        async with open_log(access, name) as other:
            with contextlib.suppress(LogHaltedError):  # It may have met one after all.
                await other.fill(4)
        await eventually(
            lambda: relay.status.state == "stopped:forked" or relay.status.position > 8
        )
        assert relay.status.state == "stopped:forked"
        assert len(await read_topic(kafka, log.topic)) == 8


async def test_a_writer_decides_on_what_the_promoted_database_holds(pair: Replicated) -> None:
    name, known, unknown = new_log_name(), "org_" + "1" * 32, "org_" + "2" * 32
    async with make_database(pair.dsn) as access, open_log(access, name) as log:
        await log.submit(rename("kept", known, ["a"]))
        await pair.caught_up()
        await pair.cut()
        await log.submit(rename("lost", known, ["b"]))
        await pair.fail_over()
        async with open_log(access, name) as other:
            # The promoted log is as long again as the one that was lost.
            await other.submit(rename("beside", unknown, ["c"]))
        await log.submit(rename("after", known, ["d"]))
        rows = await log.pool.fetch(
            "SELECT stream_version FROM log.events WHERE stream LIKE $1 ORDER BY position",
            f"%{known}",
        )
        assert [row["stream_version"] for row in rows] == [1, 2]
