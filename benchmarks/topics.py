"""Owns filling topics and reading them back whole, for benchmarks of what lies between.

Must not measure.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.messaging.kafka import KafkaSettings, drop_producer, start_producer
from shared.messaging.topic_reader import Record, TopicReader

BATCH_BYTES: Final = 1_000_000
HEADERS: Final = [("content-type", b"application/cloudevents+json")]

_APPENDED_AT_ONCE: Final = 200

Keyed = tuple[bytes, bytes]
"""A record's key and value."""


@asynccontextmanager
async def producing(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that has started."""
    producer = await start_producer(settings, batch_max_bytes=BATCH_BYTES)
    try:
        yield producer
    finally:
        await drop_producer(producer)


async def send_all(producer: AIOKafkaProducer, topic: str, records: Sequence[Keyed]) -> None:
    """Send records in full batches as fast as the client can: one is made while one is sent."""
    under_way: asyncio.Future[Any] | None = None
    sent = 0
    while sent < len(records):
        batch, count = await _batch(producer, records, sent)
        # Waits until the one before has gone out, so that they stay in order.
        sending = await producer.send_batch(batch, topic, partition=0)
        if under_way is not None:
            await under_way
        under_way, sent = sending, sent + count
    if under_way is not None:
        await under_way


async def _batch(
    producer: AIOKafkaProducer, records: Sequence[Keyed], first: int
) -> tuple[BatchBuilder, int]:
    batch = producer.create_batch()
    count = 0
    for index in range(first, len(records)):
        key, value = records[index]
        if not batch.append(timestamp=None, key=key, value=value, headers=HEADERS):
            break
        count += 1
        if count % _APPENDED_AT_ONCE == 0:
            await asyncio.sleep(0)  # Else the client could not send meanwhile.
    batch.close()
    return batch, count


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
