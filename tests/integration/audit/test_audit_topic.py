"""What was published is compared with the log, whoever changed either."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.launcher import KafkaAccess
from shared.audit.audit import audit_log
from shared.audit.findings import LogReport
from shared.audit.kafka_source import topic_name
from shared.audit.postgres_source import SourceUnreadableError
from tests.integration.audit.audited_log import SIZE, AuditedLog, repeated


@asynccontextmanager
async def consumer(kafka: KafkaAccess) -> AsyncIterator[AIOKafkaConsumer]:
    opened = AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


async def publish(
    kafka: KafkaAccess, topic: str, bodies: Iterable[bytes], partitions: int = 1
) -> None:
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(**kafka.client_options(), acks="all")
    await producer.start()
    try:
        for body in bodies:
            await producer.send_and_wait(topic, body, partition=0)
    finally:
        await producer.stop()


@pytest.fixture
def publication() -> int:
    return uuid4().int % 2**30 + 1


async def audit(log: AuditedLog, kafka: KafkaAccess, publication: int) -> LogReport:
    await log.tamper(f"UPDATE log.head SET publication = {publication}")
    async with consumer(kafka) as opened:
        return await audit_log(log.reader_dsn, consumer=opened)


async def test_topic_with_repeats_agrees(
    log: AuditedLog, kafka: KafkaAccess, publication: int
) -> None:
    await publish(kafka, topic_name("registry", publication), repeated(await log.bodies()))
    report = await audit(log, kafka, publication)
    assert (report.first_fault, report.topic_position) == (None, SIZE)


async def test_topic_names_the_event_that_was_rewritten_with_its_leaf(
    log: AuditedLog, kafka: KafkaAccess, publication: int
) -> None:
    bodies = await log.bodies()
    await publish(kafka, topic_name("registry", publication), bodies[:40])
    await log.tamper(
        "UPDATE log.events SET body = ("
        "  SELECT convert_to(regexp_replace(regexp_replace(convert_from(body, 'UTF8'),"
        '    \'"data":.*"datacontenttype"\', \'"datacontenttype"\'),'
        "    '\"datasalt\":\"[0-9a-f]*\",', ''), 'UTF8')) WHERE position = 21"
    )
    report = await audit(log, kafka, publication)
    assert report.first_fault is not None
    assert (report.first_fault.position, report.first_fault.reason) == (21, "topic-mismatch")
    assert report.topic_position == 40


async def test_gap_in_the_topic_is_named(
    log: AuditedLog, kafka: KafkaAccess, publication: int
) -> None:
    bodies = await log.bodies()
    await publish(kafka, topic_name("registry", publication), [*bodies[:5], *bodies[6:]])
    report = await audit(log, kafka, publication)
    assert report.first_fault is not None
    assert (report.first_fault.position, report.first_fault.reason) == (6, "topic-gap")


async def test_empty_topic_is_lag(log: AuditedLog, kafka: KafkaAccess, publication: int) -> None:
    await publish(kafka, topic_name("registry", publication), [])
    report = await audit(log, kafka, publication)
    assert (report.first_fault, report.topic_position) == (None, 0)


async def test_missing_topic_cannot_be_read(
    log: AuditedLog, kafka: KafkaAccess, publication: int
) -> None:
    with pytest.raises(SourceUnreadableError, match="there is no topic"):
        await audit(log, kafka, publication)


async def test_topic_of_two_partitions_cannot_be_read(
    log: AuditedLog, kafka: KafkaAccess, publication: int
) -> None:
    await publish(kafka, topic_name("registry", publication), [], partitions=2)
    with pytest.raises(SourceUnreadableError, match="one partition"):
        await audit(log, kafka, publication)
