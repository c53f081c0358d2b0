"""Owns the fake broker as its clients see it: producer, consumer, admin in the words of aiokafka.

Must offer no more of aiokafka than is used.
"""

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import RecordMetadata

from tests.simulation.fake_broker import FakeBroker, Headers, Record, Unsent
from tests.simulation.virtual_time import PROCESS

_RETRY_S: Final = 0.1
_BUFFERED: Final = 16


class FakeKafka:
    """Makes clients of one broker; implements `Kafka`."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker

    def producer(self, batch_max_bytes: int) -> AIOKafkaProducer:
        return cast("AIOKafkaProducer", FakeProducer(self.broker, batch_max_bytes))

    def consumer(self, fetch_max_bytes: int, fetch_wait_ms: int) -> AIOKafkaConsumer:
        del fetch_max_bytes, fetch_wait_ms
        return cast("AIOKafkaConsumer", FakeConsumer(self.broker))

    def admin(self) -> AIOKafkaAdminClient:
        return cast("AIOKafkaAdminClient", FakeAdmin(self.broker))


class _Client:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._process = PROCESS.get()

    async def start(self) -> None:
        await self._ask("connect", lambda: None)

    async def stop(self) -> None:
        """What is on its way to the broker arrives all the same."""

    def _ask(self, name: str, run: Any) -> "asyncio.Future[Any]":
        return self._broker.ask(self._process, name, run)


class FakeBatch:
    """Records that are sent as one, as many as fit."""

    def __init__(self, max_bytes: int) -> None:
        self.records: list[Unsent] = []
        self._room = max_bytes

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> object | None:
        del timestamp
        size = len(key or b"") + len(value) + 70
        if size > self._room:
            return None
        self._room -= size
        self.records.append(Unsent(key, value, headers))
        return self

    def close(self) -> None:
        """Nothing is added from now on."""


class FakeProducer(_Client):
    """Sends again with the same sequence what was not acknowledged, until it is stopped."""

    # What drop_producer looks for: nothing here sends by itself.
    _sender = SimpleNamespace(sender_task=None)

    def __init__(self, broker: FakeBroker, batch_max_bytes: int) -> None:
        super().__init__(broker)
        self._max_bytes = batch_max_bytes
        self._id = broker.new_producer()
        self._sequence = 0
        self._sending: dict[asyncio.Task[None], None] = {}

    async def stop(self) -> None:
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(list(self._sending))

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self._max_bytes)

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> "asyncio.Future[RecordMetadata]":
        del partition
        self._sequence += 1
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._send(batch, topic, (self._id, self._sequence), sent))
        self._sending[task] = None
        task.add_done_callback(lambda done: self._sending.pop(done, None))
        return sent

    async def send_and_wait(self, topic: str, value: bytes, **more: Any) -> RecordMetadata:
        batch = self.create_batch()
        batch.append(timestamp=None, key=more.get("key"), value=value, headers=())
        return await (await self.send_batch(batch, topic, partition=0))

    async def _send(
        self,
        batch: FakeBatch,
        topic: str,
        sequence: tuple[int, int],
        sent: "asyncio.Future[RecordMetadata]",
    ) -> None:
        append = lambda: self._broker.append(topic, batch.records, sequence)  # noqa: E731
        while not sent.done():
            try:
                base = await self._ask(f"append {len(batch.records)} to {topic}", append)
            except KafkaError:
                await asyncio.sleep(_RETRY_S)
            else:
                if not sent.done():
                    place = TopicPartition(topic, 0)
                    sent.set_result(RecordMetadata(topic, 0, place, base, -1, 0, 0))


class FakeConsumer(_Client):
    """Reads where it was told; what was fetched and not asked for yet is kept, and may be old."""

    def __init__(self, broker: FakeBroker) -> None:
        super().__init__(broker)
        self._positions: dict[TopicPartition, int | None] = {}
        self._fetched: dict[TopicPartition, list[Record]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def topics(self) -> set[str]:
        return set(await self._ask("list topics", lambda: list(self._broker.topics)))

    def assign(self, places: Collection[TopicPartition]) -> None:
        self._positions = dict.fromkeys(sorted(places))
        self._fetched.clear()

    def unsubscribe(self) -> None:
        self.assign(())

    def pause(self, *places: TopicPartition) -> None:
        self._paused.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self._paused.difference_update(places)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._positions[place] = offset
        self._fetched.pop(place, None)

    def highwater(self, place: TopicPartition) -> int | None:
        return self._ends.get(place)

    async def beginning_offsets(
        self, places: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        return await self._bounds("first offsets", places, lambda _name: 0)

    async def end_offsets(self, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        ends = self._broker.topic
        return await self._bounds("end offsets", places, lambda name: len(ends(name).records))

    async def _bounds(
        self, name: str, places: Collection[TopicPartition], find: Any
    ) -> dict[TopicPartition, int]:
        def look() -> dict[TopicPartition, int]:
            for place in places:
                self._broker.topic(place.topic)
            return {place: find(place.topic) for place in places}

        found: dict[TopicPartition, int] = await self._ask(name, look)
        return found

    async def getmany(
        self, *places: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Record]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        wanted = [p for p in (places or self._positions) if p not in self._paused]
        while True:
            for place in wanted:
                if not self._fetched.get(place):
                    await self._fetch(place)
            found = self._take(wanted, max_records)
            left_s = deadline - loop.time()
            if found or left_s <= 0:
                return found
            await self._broker.growth(left_s)

    async def _fetch(self, place: TopicPartition) -> None:
        position = self._positions[place]
        assert position is not None, "seek comes before reading"
        look = lambda: self._broker.fetch(place.topic, position, _BUFFERED)  # noqa: E731
        try:
            records, end = await self._ask(f"fetch {place.topic} from {position}", look)
        except (KafkaConnectionError, UnknownTopicOrPartitionError):
            await asyncio.sleep(_RETRY_S)
            return
        if self._positions.get(place) == position:
            self._fetched[place] = list(records)
            self._ends[place] = end

    def _take(
        self, wanted: Collection[TopicPartition], limit: int
    ) -> dict[TopicPartition, list[Record]]:
        found: dict[TopicPartition, list[Record]] = {}
        for place in wanted:
            fetched = self._fetched.get(place, [])
            if fetched and limit > 0:
                found[place] = fetched[:limit]
                limit -= len(found[place])
                self._fetched[place] = fetched[len(found[place]) :]
                self._positions[place] = found[place][-1].offset + 1
        return found


class FakeAdmin(_Client):
    """Looks at topics and makes them."""

    async def close(self) -> None:
        """Nothing is held."""

    async def describe_topics(self) -> list[dict[str, Any]]:
        partitions = [{"error_code": 0, "leader": 0, "replicas": [0]}]
        names: list[str] = await self._ask("describe topics", lambda: sorted(self._broker.topics))
        return [{"topic": n, "error_code": 0, "partitions": partitions} for n in names]

    async def describe_cluster(self) -> dict[str, Any]:
        await self._ask("describe cluster", lambda: None)
        return {"brokers": [{"node_id": 0}]}

    async def create_topics(self, topics: Collection[NewTopic]) -> Any:
        errors = [await self._ask(f"create {one.name}", self._creating(one)) for one in topics]
        return SimpleNamespace(topic_errors=errors)

    def _creating(self, topic: NewTopic) -> Any:
        def create() -> tuple[str, int, str]:
            try:
                self._broker.create(topic.name, topic.topic_configs)
            except KafkaError as error:
                return topic.name, int(getattr(error, "errno", -1)), str(error)
            return topic.name, 0, ""

        return create

    async def delete_topics(self, names: Collection[str]) -> None:
        for name in names:
            await self._ask(f"delete {name}", lambda name=name: self._broker.topics.pop(name))

    async def describe_configs(self, wanted: Collection[ConfigResource]) -> list[Any]:
        answers = []
        for one in wanted:
            look = self._settings_of(one.name)
            entries = await self._ask(f"describe {one.name}", look)
            answers.append(SimpleNamespace(resources=[(0, "", 2, one.name, entries)]))
        return answers

    def _settings_of(self, name: str) -> Any:
        return lambda: list(self._broker.topic(name).settings.items())
