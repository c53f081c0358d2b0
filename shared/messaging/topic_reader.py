"""Owns reading one partition at offsets that the caller names: bounds, one record, what follows.

Must not interpret a record, and must not wait for ever.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from shared.messaging.kafka import (
    Kafka,
    KafkaUnreachableError,
    TopicMissingError,
    drop_consumer,
    reaching_kafka,
    start_consumer,
)

Record = ConsumerRecord[bytes, bytes]

_POLL_S: Final = 1.0


def _check_listed(topic: str, topics: set[str]) -> None:
    if topic not in topics:
        raise TopicMissingError(topic)


class OffsetGoneError(Exception):
    """The topic does not reach to the offset that was asked for, or no longer holds it."""


class TopicReader:
    """Partition 0 of one topic, over a consumer of its own."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, deadline_s: float) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, 0)
        self._deadline_s = deadline_s

    @classmethod
    async def open(
        cls,
        kafka: Kafka,
        topic: str,
        *,
        deadline_s: float = 5.0,
        fetch_max_bytes: int = 1024 * 1024,
    ) -> "TopicReader":
        """Connect and make sure that the topic is there.

        Raises: TopicMissingError; KafkaUnreachableError.
        """
        return await cls.open_chosen(
            kafka, lambda _topics: topic, deadline_s=deadline_s, fetch_max_bytes=fetch_max_bytes
        )

    @classmethod
    async def open_chosen(
        cls,
        kafka: Kafka,
        choose: Callable[[set[str]], str],
        *,
        deadline_s: float,
        fetch_max_bytes: int,
    ) -> "TopicReader":
        """As `open`; the topic is chosen in view of those that there are."""
        consumer = await start_consumer(kafka, partition_fetch_max_bytes=fetch_max_bytes)
        try:
            async with reaching_kafka(deadline_s):
                topics = await consumer.topics()
            topic = choose(topics)
            _check_listed(topic, topics)
            consumer.assign([TopicPartition(topic, 0)])
            consumer.pause(TopicPartition(topic, 0))
        except BaseException:
            await drop_consumer(consumer)
            raise
        return cls(consumer, topic, deadline_s)

    async def topics(self) -> set[str]:
        """Every topic that there is and that this user may see.

        Raises: KafkaUnreachableError.
        """
        async with reaching_kafka(self._deadline_s):
            return await self._consumer.topics()

    async def bounds(self) -> tuple[int, int]:
        """The first offset and the one behind the last.

        Raises: KafkaUnreachableError.
        """
        async with reaching_kafka(self._deadline_s):
            first = await self._consumer.beginning_offsets([self._partition])
        return first[self._partition], await self.end()

    async def end(self) -> int:
        """The offset behind the last record.

        Raises: KafkaUnreachableError.
        """
        async with reaching_kafka(self._deadline_s):
            ends = await self._consumer.end_offsets([self._partition])
        return ends[self._partition]

    def known_end(self, otherwise: int) -> int:
        """The offset behind the last record as the last fetch saw it."""
        return max(self._consumer.highwater(self._partition) or 0, otherwise)

    def seek(self, offset: int) -> None:
        """Let `poll` go on at this offset."""
        self._consumer.seek(self._partition, offset)
        self._consumer.resume(self._partition)

    def pause(self) -> None:
        """Fetch nothing ahead until the next `seek`."""
        self._consumer.pause(self._partition)

    async def poll(self, limit: int, wait_s: float) -> list[Record]:
        """Return records in order, after at most `wait_s`; none does not mean that there are none.

        Raises: OffsetGoneError; KafkaUnreachableError.
        """
        async with reaching_kafka(self._deadline_s + wait_s):
            try:
                records = await self._consumer.getmany(
                    self._partition, timeout_ms=round(wait_s * 1000), max_records=limit
                )
            except OffsetOutOfRangeError as error:
                raise OffsetGoneError(str(error)) from error
        return records.get(self._partition, [])

    async def record_at(self, offset: int) -> Record | None:
        """Read one record, leaving `poll` to go on behind it; None when it is not there.

        Raises: KafkaUnreachableError.
        """
        self.seek(offset)
        try:
            async with asyncio.timeout(self._deadline_s):
                records: list[Record] = []
                while not records:
                    records = await self.poll(1, _POLL_S)
        except OffsetGoneError:
            return None
        except TimeoutError as error:
            raise KafkaUnreachableError(f"offset {offset} was not delivered") from error
        return records[0] if records[0].offset == offset else None

    async def close(self) -> None:
        """Let the connection go."""
        await drop_consumer(self._consumer)
