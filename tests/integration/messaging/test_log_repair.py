"""An operator repairs a log: its topic was lost, or its database went back to an earlier point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.local.launcher import BackingServices
from shared.audit.audit import audit_log
from shared.contracts.names import Position
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic
from shared.database.provision import DatabaseAccess
from shared.eventstore.types import LogHaltedError
from shared.messaging.kafka import KafkaSettings, drop_consumer, ensure_topic, start_consumer
from shared.messaging.relay import Relay, RelayLimits
from shared.messaging.relay_log import RelayLog
from shared.messaging.repair import Act, Repaired, RepairRefusedError, repair
from shared.projections.status import RunnerState
from tests.integration.messaging.followed import Follower, following
from tests.integration.messaging.log_under_test import (
    LogUnderTest,
    eventually,
    new_log_name,
    open_log,
    positions,
    read_topic,
    relaying,
    rename,
)
from tests.integration.messaging.topics import delete_topic, make_topic, put

QUICK = RelayLimits(lease_renew_s=0.3, recheck_s=0.3)
ORGANISATION = "org_" + "a" * 32


async def repaired(log: LogUnderTest, act: Act) -> Repaired:
    return await repair(log.access.owner_dsn, log.name, act, by="operator-7", reason="a test")


async def refused(log: LogUnderTest, act: Act) -> str:
    before = await log.reader.head()
    with pytest.raises(RepairRefusedError) as refusal:
        await repaired(log, act)
    assert await log.reader.head() == before
    return str(refusal.value)


async def published(kafka: KafkaSettings, log: LogUnderTest, publication: int) -> list[bytes]:
    records = await read_topic(kafka, events_topic(log.name, publication))
    return [record.value or b"" for record in records]


async def verified(kafka: KafkaSettings, log: LogUnderTest) -> int:
    """The position up to which log and topic were found to be without fault."""
    consumer = await start_consumer(kafka)
    try:
        report = await audit_log(log.access.app_dsn, consumer=consumer)
    finally:
        await drop_consumer(consumer)
    assert report.first_fault is None
    assert report.topic_position == report.position
    return report.position


async def led(relay: Relay, log: LogUnderTest, publication: int) -> None:
    """Return once the relay has published the whole log on this publication, and noted it."""
    head = (await log.reader.head()).position
    known = RelayLog(log.pool, timeout_s=5)

    async def done() -> bool:
        status = relay.status
        reached = (status.state, status.publication, status.position)
        noted = not head or await known.published(publication) > 0
        return reached == ("leading", publication, head) and noted

    await eventually(done)


async def test_a_topic_that_was_made_again_is_published_anew_and_readers_go_over(
    log: LogUnderTest, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    admin = messaging_backing.postgres_dsn
    await log.fill(20)
    async with (
        following(admin, log.name, kafka) as follower,
        relaying(log, kafka, QUICK) as relay,
        follower.running() as running,
    ):
        await follower.shows(log)
        await delete_topic(kafka, log.topic)
        await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
        await eventually(lambda: relay.status.state == "stopped:topic-lost")
        await log.fill(5)
        await running.is_in(RunnerState.RETRYING)
        done = await repaired(log, Act.NEW_PUBLICATION)
        assert (done.timeline, done.publication, done.position) == (1, 2, 25)
        await led(relay, log, 2)
        await follower.shows(log)
        await log.fill(5)
        await follower.shows(log)
        assert await published(kafka, log, 1) == []
        assert await published(kafka, log, 2) == await log.bodies()
        assert await verified(kafka, log) == 30
        (recorded,) = await log.reader.repairs()
        assert (recorded.act, recorded.done_by, recorded.reason) == (
            "new-publication",
            "operator-7",
            "a test",
        )


async def test_a_topic_that_was_deleted_is_published_anew_behind_a_later_number(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(5)
    async with relaying(log, kafka, QUICK) as relay:
        await led(relay, log, 1)
        await delete_topic(kafka, log.topic)
        await eventually(lambda: relay.status.state == "stopped:topic-lost")
        await repaired(log, Act.NEW_PUBLICATION)
        await led(relay, log, 2)
        assert await published(kafka, log, 2) == await log.bodies()
        await repaired(log, Act.NEW_PUBLICATION)
        await led(relay, log, 3)
        assert await published(kafka, log, 3) == await log.bodies()


async def test_a_topic_that_ends_with_garbage_is_published_anew(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(5)
    async with relaying(log, kafka, QUICK) as relay:
        await led(relay, log, 1)
    await put(kafka, log.topic, [b"garbage"])
    async with relaying(log, kafka, QUICK) as relay:
        await eventually(lambda: relay.status.state == "stopped:topic-unreadable")
        await repaired(log, Act.NEW_PUBLICATION)
        await led(relay, log, 2)
    assert await verified(kafka, log) == 5


def _at(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


@asynccontextmanager
async def kept_copy(admin_dsn: str, access: DatabaseAccess) -> AsyncIterator[DatabaseAccess]:
    """A backup of the database as it is now, which nobody is connected to; ready to be used."""
    name = urlsplit(access.owner_dsn).path[1:]
    copy = f"{name}_kept"
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {copy} TEMPLATE {name} OWNER {name}_owner")
        yield DatabaseAccess(_at(access.owner_dsn, copy), _at(access.app_dsn, copy))
        await connection.execute(f"DROP DATABASE {copy} WITH (FORCE)")
    finally:
        await connection.close()


async def fill_and_publish(
    access: DatabaseAccess, name: str, kafka: KafkaSettings, count: int
) -> list[bytes]:
    """A run of the service: it appends, publishes, and ends."""
    async with open_log(access, name) as log, relaying(log, kafka, QUICK) as relay:
        await log.fill(count)
        await led(relay, log, 1)
        return await log.bodies()


async def test_a_log_that_went_back_goes_on_on_a_new_timeline(
    access: DatabaseAccess, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    admin, name = messaging_backing.postgres_dsn, new_log_name()
    kept = await fill_and_publish(access, name, kafka, 10)
    async with (
        kept_copy(admin, access) as copy,
        following(admin, name, kafka) as behind,
        following(admin, name, kafka) as ahead,
    ):
        async with behind.running():
            await reached(behind, 10)
        lost = await fill_and_publish(access, name, kafka, 10)
        async with (
            ahead.running() as ahead_running,
            open_log(copy, name) as log,
        ):
            await reached(ahead, 20)
            async with relaying(log, kafka, QUICK) as relay:
                await eventually(lambda: relay.status.state == "stopped:forked")
                with pytest.raises(LogHaltedError):
                    await log.fill(1)
                assert await log.bodies() == kept

                done = await repaired(log, Act.NEW_TIMELINE)
                assert (done.timeline, done.publication, done.position) == (2, 2, 10)
                await led(relay, log, 2)
                await ahead_running.is_in(RunnerState.RETRYING)
                assert await refused(log, Act.NEW_TIMELINE) == "The log is not halted."

                outcome = await log.submit(rename("new", ORGANISATION, ["a", "b"]))
                assert outcome.answer["positions"] == f"{name}@2:12"
                await led(relay, log, 2)
                assert await published(kafka, log, 1) == lost
                assert await published(kafka, log, 2) == await log.bodies()
                assert (await log.bodies())[:10] == kept
                assert await verified(kafka, log) == 12

                async with behind.running():
                    await behind.shows(log)
                    assert await behind.at() == Position(name, 12, 2)

                await ahead_running.is_in(RunnerState.STOPPED, "other-history")
                assert await ahead.bodies() == lost
                assert await ahead.rebuild() == 2
                await ahead.shows(log)
                await log.fill(15)
                await ahead.shows(log)
                await ahead_running.is_in(RunnerState.FOLLOWING)
                assert await verified(kafka, log) == 27


async def reached(follower: Follower, position: int) -> None:
    async def is_there() -> bool:
        return (await follower.at()).position == position

    await eventually(is_there)


async def test_a_lost_command_takes_effect_when_it_is_sent_again(
    access: DatabaseAccess, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    name = new_log_name()
    first = rename("first", ORGANISATION, ["a"])
    second = rename("second", ORGANISATION, ["b"])
    async with open_log(access, name) as log, relaying(log, kafka, QUICK) as relay:
        kept = await log.submit(first)
        await led(relay, log, 1)
    async with kept_copy(messaging_backing.postgres_dsn, access) as copy:
        async with open_log(access, name) as log, relaying(log, kafka, QUICK) as relay:
            await log.submit(second)
            await led(relay, log, 1)
        async with open_log(copy, name) as log, relaying(log, kafka, QUICK) as relay:
            await eventually(lambda: relay.status.state == "stopped:forked")
            await repaired(log, Act.NEW_TIMELINE)
            assert await log.submit(first) == replace(kept, replayed=True)
            again = await log.submit(second)
            assert (again.answer["positions"], again.replayed) == (f"{name}@2:2", False)


async def test_a_database_from_before_the_newest_publication_does_not_publish(
    access: DatabaseAccess, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    name = new_log_name()
    await fill_and_publish(access, name, kafka, 3)
    async with kept_copy(messaging_backing.postgres_dsn, access) as copy:
        async with open_log(access, name) as log, relaying(log, kafka, QUICK) as relay:
            await repaired(log, Act.NEW_PUBLICATION)
            await led(relay, log, 2)
        async with open_log(copy, name) as log, relaying(log, kafka, QUICK) as relay:
            await eventually(lambda: relay.status.state == "stopped:forked")
            assert relay.status.detail == "Kafka has publication 2, the log knows 1 only"
            done = await repaired(log, Act.NEW_TIMELINE)
            assert (done.timeline, done.publication) == (3, 3)
            await led(relay, log, 3)
            await log.fill(1)
            await led(relay, log, 3)
            assert await verified(kafka, log) == 4


async def test_a_database_that_runs_on_beside_its_restored_copy_is_halted(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(3)
    async with relaying(log, kafka, QUICK) as relay:
        await led(relay, log, 1)
        await make_topic(kafka, events_topic(log.name, 2), await log.bodies())
        await eventually(lambda: relay.status.state == "stopped:forked")
        with pytest.raises(LogHaltedError):
            await log.fill(1)


async def test_a_lifted_halt_lets_the_log_go_on_when_it_agrees_with_the_topic_again(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(3)
    async with relaying(log, kafka, QUICK) as relay:
        await led(relay, log, 1)
        stray = events_topic(log.name, 2)
        await ensure_topic(kafka, stray, EVENT_TOPIC_CONFIG)
        await eventually(lambda: relay.status.state == "stopped:forked")
        assert "log is halted" in await refused(log, Act.NEW_PUBLICATION)
        await repaired(log, Act.LIFT_HALT)
        await eventually(lambda: _halted(log))
        await delete_topic(kafka, stray)
        await repaired(log, Act.LIFT_HALT)
        await led(relay, log, 1)
        await log.fill(1)
        await led(relay, log, 1)
    assert positions(await read_topic(kafka, log.topic)) == [1, 2, 3, 4]
    assert [one.act for one in await log.reader.repairs()] == ["lift-halt", "lift-halt"]


async def _halted(log: LogUnderTest) -> bool:
    return (await log.reader.head()).halted is not None


async def test_acts_are_refused_when_nothing_calls_for_them(log: LogUnderTest) -> None:
    await log.fill(1)
    assert await refused(log, Act.LIFT_HALT) == "The log is not halted."
    assert await refused(log, Act.NEW_TIMELINE) == "The log is not halted."
    assert "relay fills it by itself" in await refused(log, Act.NEW_PUBLICATION)
    assert await log.reader.repairs() == []


async def test_the_service_s_own_role_cannot_repair(log: LogUnderTest) -> None:
    await log.fill(1)
    await log.pool.execute("INSERT INTO messaging.publications VALUES (1, 1)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await repair(log.access.app_dsn, log.name, Act.NEW_PUBLICATION, by="x", reason="y")
