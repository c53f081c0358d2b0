import asyncio

import asyncpg
import pytest

from shared.contracts.topics import EVENT_TOPIC_CONFIG
from shared.eventstore.types import LogHaltedError
from shared.messaging.kafka import (
    KafkaSettings,
    TopicMisconfiguredError,
    ensure_topic,
)
from shared.messaging.relay import RelayLimits
from tests.integration.messaging.log_under_test import (
    LogUnderTest,
    eventually,
    positions,
    read_topic,
    relaying,
    rename,
)
from tests.integration.messaging.topics import delete_topic, put


async def test_topic_equals_the_log_byte_for_byte(log: LogUnderTest, kafka: KafkaSettings) -> None:
    await log.fill(3_000, size=900)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.position == 3_000)
        await log.fill(7)
        await eventually(lambda: relay.status.position == 3_007)
        assert (relay.status.state, relay.status.lag) == ("leading", 0)
    records = await read_topic(kafka, log.topic)
    assert [record.value for record in records] == await log.bodies()
    assert records[0].key == b"organisation-org_" + b"0" * 32
    assert records[0].headers == (("content-type", b"application/cloudevents+json"),)


async def test_large_events_are_published(log: LogUnderTest, kafka: KafkaSettings) -> None:
    for number in range(4):
        await log.submit(rename(f"big-{number}", "org_" + "a" * 32, ["x" * 500_000]))
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.position == 4)
    assert [r.value for r in await read_topic(kafka, log.topic)] == await log.bodies()


async def test_a_restarted_relay_goes_on_behind_the_tail(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    for total in (10, 20):
        await log.fill(10)
        async with relaying(log, kafka) as relay:
            await eventually(lambda: relay.status.position == total)  # noqa: B023 - awaited here.
    assert positions(await read_topic(kafka, log.topic)) == list(range(1, 21))


async def test_a_topic_ahead_of_the_log_halts_it(log: LogUnderTest, kafka: KafkaSettings) -> None:
    await log.fill(5)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.position == 5)
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    ahead = (await log.bodies())[4].replace(b'"position":"5"', b'"position":"6"')
    await put(kafka, log.topic, [ahead])
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:forked")
        with pytest.raises(LogHaltedError, match="ends at 6, the log at 5"):
            await log.fill(1)
    assert len(await read_topic(kafka, log.topic)) == 6


async def test_other_bytes_at_the_same_position_halt_the_log(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(2)
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    first = (await log.bodies())[0]
    await put(kafka, log.topic, [first.replace(b"act_test", b"act_evil")])
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:forked")
        with pytest.raises(LogHaltedError):
            await log.fill(1)


async def test_a_record_that_is_no_event_stops_the_relay_but_not_the_writer(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(1)
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    await put(kafka, log.topic, [*await log.bodies(), b"hello"])
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:topic-unreadable")
        await log.fill(1)


async def noted_as_published(log: LogUnderTest) -> None:
    """Return once the relay has noted that its topic holds events, which is after it sent them."""

    async def noted() -> bool:
        return bool(await log.pool.fetchval("SELECT max(published) FROM messaging.publications"))

    await eventually(noted)


async def test_a_topic_that_was_lost_is_not_filled_again_in_silence(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(5)
    async with relaying(log, kafka) as relay:
        await noted_as_published(log)
    await delete_topic(kafka, log.topic)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:topic-lost")
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:topic-lost")
    assert await read_topic(kafka, log.topic) == []


async def test_a_topic_made_again_under_the_relay_stops_it(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(5)
    limits = RelayLimits(lease_renew_s=0.5)
    async with relaying(log, kafka, limits) as relay:
        await eventually(lambda: relay.status.position == 5)
        await delete_topic(kafka, log.topic)
        await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
        await eventually(lambda: relay.status.state == "stopped:topic-lost")


async def test_a_new_publication_begins_at_the_first_event(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(5)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.position == 5)
        await _next_publication(log)
        await eventually(lambda: (relay.status.publication, relay.status.lag) == (2, 0))
    second = log.topic.removesuffix("1") + "2"
    assert positions(await read_topic(kafka, second)) == [1, 2, 3, 4, 5]


async def _next_publication(log: LogUnderTest) -> None:
    connection = await asyncpg.connect(log.access.owner_dsn)
    await connection.execute("UPDATE log.head SET publication = publication + 1")
    await connection.close()


@pytest.mark.parametrize(
    "config",
    [
        {"cleanup.policy": "compact"},
        {"cleanup.policy": "delete", "retention.ms": "1000"},
        {"max.message.bytes": "1000", "retention.ms": "-1"},
    ],
)
async def test_a_topic_that_cannot_hold_the_log_is_named(
    config: dict[str, str], log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await ensure_topic(kafka, log.topic, config)
    with pytest.raises(TopicMisconfiguredError):
        await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "stopped:topic-misconfigured")


async def test_a_topic_of_two_partitions_is_refused(
    kafka: KafkaSettings, log: LogUnderTest
) -> None:
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG, partitions=2)
    with pytest.raises(TopicMisconfiguredError, match="2 partitions"):
        await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)


async def test_a_published_event_is_quick(log: LogUnderTest, kafka: KafkaSettings) -> None:
    async with relaying(log, kafka) as relay:
        await eventually(lambda: relay.status.state == "leading")
        started = asyncio.get_running_loop().time()
        await log.fill(1)
        await eventually(lambda: relay.status.position == 1)
        assert asyncio.get_running_loop().time() - started < 1.0
