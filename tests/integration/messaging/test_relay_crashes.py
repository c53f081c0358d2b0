import asyncio
import signal

import pytest

from deploy.local.errors import LaunchError
from deploy.local.launcher import BackingServices
from shared.messaging.kafka import KafkaSettings
from shared.messaging.relay import RelayLimits
from tests.integration.messaging.child import child
from tests.integration.messaging.log_under_test import (
    LogUnderTest,
    eventually,
    positions,
    read_topic,
    relaying,
    without_repeats,
)

RELAY = "tests.integration.messaging.relay_process"


async def topic_equals_log(log: LogUnderTest, kafka: KafkaSettings) -> None:
    kept = without_repeats(await read_topic(kafka, log.topic))
    assert [record.value for record in kept] == await log.bodies()


@pytest.mark.parametrize(
    ("failpoint", "published"),
    [
        ("relay.read:2", 30),
        ("relay.barrier:2", 30),
        ("relay.sent:2", 60),
        ("relay.acknowledged:2", 60),
    ],
)
async def test_topic_equals_the_log_after_the_relay_was_killed(
    failpoint: str, published: int, log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await log.fill(100)
    options = {"dsn": log.access.app_dsn, "bootstrap": kafka.bootstrap, "log": log.name}
    async with child(RELAY, holder="first", failpoint=failpoint, batch=30, ttl=1, **options) as it:
        await it.died()

    async def is_published() -> bool:
        return len(await read_topic(kafka, log.topic)) >= published

    await eventually(is_published)
    assert len(await read_topic(kafka, log.topic)) == published
    async with relaying(log, kafka, RelayLimits(standby_poll_s=0.2)) as relay:
        await eventually(lambda: relay.status.position == 100)
        assert relay.status.state == "leading"
    await topic_equals_log(log, kafka)


async def test_a_relay_frozen_past_its_lease_leaves_no_hole_and_no_inversion(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    options = {"dsn": log.access.app_dsn, "bootstrap": kafka.bootstrap, "log": log.name}
    async with (
        child(RELAY, holder="one", batch=20, ttl=2, **options) as one,
        child(RELAY, holder="two", batch=20, ttl=2, **options) as two,
    ):
        await eventually(
            lambda: {one.last.get("state"), two.last.get("state")} == {"leading", "standby"}
        )
        leader, standby = (one, two) if one.last["state"] == "leading" else (two, one)
        load = asyncio.create_task(log.fill(3_000))
        await leader.until(lambda status: status["position"] > 200)
        leader.signal(signal.SIGSTOP)
        await standby.until(lambda status: status["position"] > 2_000)
        leader.signal(signal.SIGCONT)
        await leader.until(lambda status: status["state"] == "standby")
        await load
        await eventually(lambda: 3_000 in {one.last["position"], two.last["position"]})
    await topic_equals_log(log, kafka)


async def test_the_backlog_of_a_broker_outage_drains_in_order(
    log: LogUnderTest, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    limits = RelayLimits(send_deadline_s=3.0)
    async with relaying(log, kafka, limits) as relay:
        await log.fill(200)
        await eventually(lambda: relay.status.position > 0)
        try:
            await messaging_backing.stop_kafka()
        except LaunchError:
            pytest.skip("the broker is not ours to stop")
        try:
            await log.fill(2_000)
            await eventually(lambda: relay.status.state == "kafka-unreachable")
            await eventually(lambda: relay.status.head == 2_200)
        finally:
            await messaging_backing.start_kafka()
        await eventually(lambda: relay.status.position == 2_200, deadline_s=40)
        assert relay.status.producer_rebuilds > 0
    records = await read_topic(kafka, log.topic)
    assert positions(records)[-1] == 2_200
    await topic_equals_log(log, kafka)
