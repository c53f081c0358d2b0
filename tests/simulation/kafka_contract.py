"""Owns what a broker must do for the logic above it, whether real or simulated.

Must only use what that logic uses: the fake is held to nothing else. Whoever runs this brings the
fixtures `kafka`, `name`, the name of a topic that nobody else uses, and `lose_acknowledgement`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from shared.contracts.topics import EVENT_TOPIC_CONFIG, SUBMISSION_TOPIC_CONFIG
from shared.messaging.kafka import (
    Kafka,
    KafkaUnreachableError,
    TopicMisconfiguredError,
    TopicMissingError,
    drop_consumer,
    drop_producer,
    ensure_topic,
    kafka_admin,
    list_topics,
    start_consumer,
    start_producer,
)
from shared.messaging.topic_reader import OffsetGoneError, Record, TopicReader

_HEADERS = [("content-type", b"application/cloudevents+json")]
_BATCH_BYTES = 2_000


async def put(kafka: Kafka, topic: str, values: Sequence[bytes]) -> list[int]:
    """Send records in as many batches as they need; return the offset that each batch got."""
    producer = await start_producer(kafka, batch_max_bytes=_BATCH_BYTES)
    left, offsets = list(values), []
    while left:
        batch = producer.create_batch()
        while left and batch.append(timestamp=None, key=b"k", value=left[0], headers=_HEADERS):
            left.pop(0)
        batch.close()
        sent = await producer.send_batch(batch, topic, partition=0)
        offsets.append((await sent).offset)
    await drop_producer(producer)
    return offsets


async def delete(kafka: Kafka, topic: str) -> None:
    """Delete a topic and wait until it is gone."""
    admin = kafka.admin()
    await admin.start()
    await admin.delete_topics([topic])
    while topic in await list_topics(kafka):
        await asyncio.sleep(0.02)
    await admin.close()


async def read(reader: TopicReader, count: int) -> list[Record]:
    """Read this many records, however many polls that takes."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            found = await reader.poll(3, 0.5)
            assert len(found) <= 3
            records += found
    return records


async def again_and_again(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until that fails."""
    async with asyncio.timeout(20):
        while True:
            await ask()
            await asyncio.sleep(0.02)


Lose = Callable[[AIOKafkaProducer], asyncio.Event]
"""Lets the acknowledgement of a producer's next batch get lost; tells when it has been."""


class KafkaContract:
    """The tests; each gets a topic name of its own."""

    async def test_a_topic_is_made_once_and_checked_from_then_on(
        self, kafka: Kafka, name: str
    ) -> None:
        assert name not in await list_topics(kafka)
        await ensure_topic(kafka, name, SUBMISSION_TOPIC_CONFIG)
        await ensure_topic(kafka, name, SUBMISSION_TOPIC_CONFIG)
        assert (await list_topics(kafka))[name] == 1
        with pytest.raises(TopicMisconfiguredError, match=r"retention\.ms"):
            await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)

    async def test_two_may_make_a_topic_at_once(self, kafka: Kafka, name: str) -> None:
        made = (ensure_topic(kafka, name, EVENT_TOPIC_CONFIG) for _ in range(2))
        await asyncio.gather(*made)
        assert name in await list_topics(kafka)

    async def test_a_topic_that_is_missing_is_missed(self, kafka: Kafka, name: str) -> None:
        with pytest.raises(TopicMissingError):
            await TopicReader.open(kafka, name)

    async def test_offsets_count_the_records_of_all_batches(self, kafka: Kafka, name: str) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        first = await put(kafka, name, [b"x" * 500] * 7)
        second = await put(kafka, name, [b"y"])
        assert first[0] == 0
        assert len(first) > 1
        assert second == [7]
        reader = await TopicReader.open(kafka, name)
        assert await reader.bounds() == (0, 8)
        await reader.close()

    async def test_a_batch_takes_no_more_than_it_may(self, kafka: Kafka) -> None:
        producer = await start_producer(kafka, batch_max_bytes=_BATCH_BYTES)
        batch = producer.create_batch()
        assert batch.append(timestamp=None, key=b"k", value=b"x" * 1_000, headers=_HEADERS)
        too_much = batch.append(timestamp=None, key=b"k", value=b"x" * 1_000, headers=_HEADERS)
        assert too_much is None
        await drop_producer(producer)

    async def test_a_batch_whose_acknowledgement_was_lost_is_there_once(
        self, kafka: Kafka, name: str, lose_acknowledgement: Lose
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        producer = await start_producer(kafka, batch_max_bytes=_BATCH_BYTES)
        offsets, lost = [], None
        for value in (b"a", b"b", b"c"):
            batch = producer.create_batch()
            batch.append(timestamp=None, key=b"k", value=value, headers=_HEADERS)
            batch.close()
            if value == b"b":
                lost = lose_acknowledgement(producer)
            sent = await producer.send_batch(batch, name, partition=0)
            offsets.append((await asyncio.wait_for(sent, 20)).offset)
        await drop_producer(producer)
        assert lost is not None
        assert lost.is_set()
        assert offsets in ([0, 1, 2], [0, -1, 2])
        reader = await TopicReader.open(kafka, name)
        reader.seek(0)
        assert [record.value for record in await read(reader, 3)] == [b"a", b"b", b"c"]
        assert await reader.bounds() == (0, 3)
        await reader.close()

    async def test_records_come_whole_in_order_from_where_one_wants(
        self, kafka: Kafka, name: str
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        values = [b"%d" % number for number in range(10)]
        await put(kafka, name, values)
        reader = await TopicReader.open(kafka, name)
        reader.seek(4)
        records = await read(reader, 6)
        assert [(record.offset, record.value) for record in records] == list(
            enumerate(values[4:], start=4)
        )
        assert (records[0].key, list(records[0].headers)) == (b"k", _HEADERS)
        assert reader.known_end(0) == 10
        assert await reader.poll(3, 0.1) == []
        await put(kafka, name, [b"later"])
        assert [record.value for record in await read(reader, 1)] == [b"later"]
        await reader.close()

    async def test_one_record_is_read_and_what_follows_goes_on_behind_it(
        self, kafka: Kafka, name: str
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        await put(kafka, name, [b"a", b"b", b"c"])
        reader = await TopicReader.open(kafka, name)
        found = await reader.record_at(1)
        assert found is not None
        assert found.value == b"b"
        assert [record.value for record in await read(reader, 1)] == [b"c"]
        assert await reader.record_at(9) is None
        await reader.close()

    async def test_a_paused_reader_gets_nothing_until_it_seeks(
        self, kafka: Kafka, name: str
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        await put(kafka, name, [b"a"])
        reader = await TopicReader.open(kafka, name)
        reader.seek(0)
        reader.pause()
        assert await reader.poll(1, 0.1) == []
        reader.seek(0)
        assert len(await read(reader, 1)) == 1
        await reader.close()

    async def test_a_topic_made_again_counts_from_zero_and_its_old_offsets_are_gone(
        self, kafka: Kafka, name: str
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        await put(kafka, name, [b"old"] * 5)
        await delete(kafka, name)
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        reader = await TopicReader.open(kafka, name)
        assert await reader.bounds() == (0, 0)
        assert await put(kafka, name, [b"new"]) == [0]
        reader.seek(5)
        with pytest.raises(OffsetGoneError):
            await read(reader, 1)
        await reader.close()

    async def test_the_ends_of_a_topic_that_is_gone_are_not_known(
        self, kafka: Kafka, name: str
    ) -> None:
        await ensure_topic(kafka, name, EVENT_TOPIC_CONFIG)
        reader = await TopicReader.open(kafka, name, deadline_s=2.0)
        await delete(kafka, name)
        with pytest.raises(KafkaUnreachableError):
            # The broker may know the ends for a moment longer.
            await again_and_again(reader.end)
        await reader.close()

    async def test_a_consumer_follows_several_topics_and_each_has_its_place(
        self, kafka: Kafka, name: str
    ) -> None:
        topics = [f"{name}.a", f"{name}.b"]
        places = [TopicPartition(topic, 0) for topic in topics]
        async with kafka_admin(kafka) as admin:
            await admin.ensure(dict.fromkeys(topics, SUBMISSION_TOPIC_CONFIG))
        for topic in topics:
            await put(kafka, topic, [topic.encode()] * 3)
        consumer = await start_consumer(kafka)
        consumer.assign(places)
        assert await consumer.beginning_offsets(places) == dict.fromkeys(places, 0)
        assert await consumer.end_offsets(places) == dict.fromkeys(places, 3)
        consumer.seek(places[0], 0)
        consumer.seek(places[1], 2)
        found: dict[TopicPartition, list[int]] = {place: [] for place in places}
        async with asyncio.timeout(20):
            while sum(map(len, found.values())) < 4:
                records = await consumer.getmany(timeout_ms=200, max_records=2)
                assert sum(map(len, records.values())) <= 2
                for place, run in records.items():
                    found[place] += [record.offset for record in run]
        assert found == {places[0]: [0, 1, 2], places[1]: [2]}
        assert [consumer.highwater(place) for place in places] == [3, 3]
        consumer.seek(places[0], 7)
        with pytest.raises(OffsetOutOfRangeError):
            await again_and_again(lambda: consumer.getmany(timeout_ms=200, max_records=2))
        await drop_consumer(consumer)
