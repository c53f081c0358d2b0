"""Topics made by hand: what a stranger, an operator or a broken disk could do to one."""

from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient

from shared.contracts.topics import EVENT_TOPIC_CONFIG
from shared.messaging.kafka import (
    KafkaSettings,
    drop_producer,
    ensure_topic,
    list_topics,
    start_producer,
)
from tests.integration.messaging.log_under_test import eventually


async def put(kafka: KafkaSettings, topic: str, values: Sequence[bytes | None]) -> None:
    """Append records to partition 0; None is a tombstone."""
    producer = await start_producer(kafka, batch_max_bytes=1_000_000)
    for value in values:
        key = b"gone" if value is None else None
        await producer.send_and_wait(topic, value, key=key, partition=0)
    await drop_producer(producer)


async def make_topic(kafka: KafkaSettings, topic: str, values: Sequence[bytes | None]) -> None:
    await ensure_topic(kafka, topic, EVENT_TOPIC_CONFIG)
    await put(kafka, topic, values)


async def delete_topic(kafka: KafkaSettings, topic: str) -> None:
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    await admin.delete_topics([topic])

    async def gone() -> bool:
        return topic not in await list_topics(kafka)

    await eventually(gone)
    await admin.close()


async def make_topic_again(
    kafka: KafkaSettings, topic: str, values: Sequence[bytes | None]
) -> None:
    await delete_topic(kafka, topic)
    await make_topic(kafka, topic, values)


async def forget_topics(kafka: KafkaSettings, log: str) -> None:
    """Delete all topics of a log whose name others use as well."""
    for topic in await list_topics(kafka):
        if topic.startswith(f"estate.{log}."):
            await delete_topic(kafka, topic)
