"""Owns filling topics and reading them back whole, for benchmarks of what lies between.

Must not measure.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from shared.messaging.kafka import KafkaSettings, drop_producer, start_producer
from shared.messaging.topic_reader import Record, TopicReader

BATCH_BYTES: Final = 1_000_000
HEADERS: Final = [("content-type", b"application/cloudevents+json")]

Keyed = tuple[bytes, bytes]
"""A record's key and value."""


async def send_all(settings: KafkaSettings, topic: str, records: Sequence[Keyed]) -> None:
    """Send records in full batches, one after the other, as fast as the client can."""
    producer = await start_producer(settings, batch_max_bytes=BATCH_BYTES)
    try:
        sent = 0
        while sent < len(records):
            batch = producer.create_batch()
            first = sent
            for key, value in records[first:]:
                if not batch.append(timestamp=None, key=key, value=value, headers=HEADERS):
                    break
                sent += 1
            batch.close()
            await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await drop_producer(producer)


async def records_of(
    settings: KafkaSettings, topic: str, limit: int = 5_000
) -> AsyncIterator[list[Record]]:
    """Read a topic from its start to its present end."""
    reader = await TopicReader.open(settings, topic, fetch_max_bytes=8 * 1024 * 1024)
    try:
        first, end = await reader.bounds()
        reader.seek(first)
        while first < end:
            records = await reader.poll(limit, 1.0)
            if records:
                first = records[-1].offset + 1
                yield records
    finally:
        await reader.close()
