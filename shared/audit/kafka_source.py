"""Owns reading a published log from its topic, from the first record to the end at the start.

Must not join a consumer group or commit anything.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.audit.postgres_source import SourceUnreadableError

STALL_TIMEOUT_S: Final = 60.0

_POLL_MS: Final = 1_000
_POLL_RECORDS: Final = 2_000


def topic_name(log: str, publication: int) -> str:
    """The topic in which a publication of a log is."""
    return f"estate.{log}.events.{publication}"


async def topic_records(consumer: AIOKafkaConsumer, topic: str) -> AsyncGenerator[bytes, None]:
    """Yield the value of each record that the topic holds by now, in order.

    The consumer is started, has no group, and is given to this call alone.

    Raises: SourceUnreadableError when there is no such topic or it stops answering.
    """
    # Asking for all topics does not create the one that is missing.
    if topic not in await consumer.topics():
        raise SourceUnreadableError(f"there is no topic {topic}")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = (await consumer.end_offsets([partition]))[partition]
    if consumer.partitions_for_topic(topic) != {0}:
        raise SourceUnreadableError(f"the topic {topic} must have one partition")
    start = (await consumer.beginning_offsets([partition]))[partition]
    consumer.seek(partition, start)
    heard_at = asyncio.get_running_loop().time()
    while await consumer.position(partition) < end:
        polled = await consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        now = asyncio.get_running_loop().time()
        if polled:
            heard_at = now
        elif now - heard_at > STALL_TIMEOUT_S:
            raise SourceUnreadableError(f"the topic {topic} sends nothing any more")
        for record in polled.get(partition, []):
            if record.offset < end:
                yield record.value or b""
