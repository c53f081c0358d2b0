"""Owns a broker that lives in memory: topics of one partition, appended to once for each sequence.

Must not know what a record means.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord
from aiokafka.errors import (
    KafkaConnectionError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from tests.simulation.network import Fate, Network, answer

Record: TypeAlias = ConsumerRecord[bytes, bytes]
Headers: TypeAlias = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Unsent:
    """A record as a producer has it."""

    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class Topic:
    """The one partition of a topic; `sequences` are what its producers sent, and where that is."""

    name: str
    settings: Mapping[str, str]
    now_ms: Callable[[], int] = lambda: 0
    records: list[Record] = field(default_factory=list)
    sequences: dict[tuple[int, int], int] = field(default_factory=dict)

    def append(self, records: Sequence[Unsent]) -> int:
        """Put records behind the last one; return the offset of their first."""
        base = len(self.records)
        for offset, one in enumerate(records, start=base):
            made: Record = ConsumerRecord(
                topic=self.name,
                partition=0,
                offset=offset,
                timestamp=self.now_ms(),
                timestamp_type=0,
                key=one.key,
                value=one.value,
                checksum=None,
                serialized_key_size=len(one.key or b""),
                serialized_value_size=len(one.value or b""),
                headers=one.headers,
            )
            self.records.append(made)
        return base


class FakeBroker:
    """All topics of a cluster."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.topics: dict[str, Topic] = {}
        self.down = False
        self._producers = 0
        self._waiting: list[asyncio.Future[None]] = []

    def ask(self, who: object, name: str, run: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Send a request; the future is its answer. What is on its way arrives, whoever stops."""
        answered: asyncio.Future[Any] = self.network.loop.create_future()
        self.network.at_server(self.network.delay_s(), self._serve, who, name, run, answered)
        return answered

    def new_producer(self) -> int:
        """An id by which a producer's repeats are known."""
        self._producers += 1
        return self._producers

    def now_ms(self) -> int:
        """The broker's clock."""
        return round(self.network.loop.time() * 1000)

    def topic(self, name: str) -> Topic:
        """Find a topic.

        Raises: UnknownTopicOrPartitionError.
        """
        if name not in self.topics:
            raise UnknownTopicOrPartitionError(name)
        return self.topics[name]

    def create(self, name: str, settings: Mapping[str, str]) -> None:
        """Make a topic.

        Raises: TopicAlreadyExistsError.
        """
        if name in self.topics:
            raise TopicAlreadyExistsError(name)
        self.topics[name] = Topic(name, dict(settings), self.now_ms)

    def append(self, name: str, records: Sequence[Unsent], sequence: tuple[int, int]) -> int:
        """Append what a producer sends; a repeat of its sequence is where it was."""
        topic = self.topic(name)
        if sequence not in topic.sequences:
            topic.sequences[sequence] = topic.append(records)
            self.wake()
        return topic.sequences[sequence]

    def fetch(self, name: str, offset: int, limit: int) -> tuple[Sequence[Record], int]:
        """Records from an offset on, not always as many as there are, and the end.

        Raises: OffsetOutOfRangeError.
        """
        records = self.topic(name).records
        if not 0 <= offset <= len(records):
            raise OffsetOutOfRangeError({name: offset})
        there = min(limit, len(records) - offset)
        if there > 1 and self.network.slowness_s:
            there = self.network.chance.randint(1, there)
        return records[offset : offset + there], len(records)

    async def growth(self, wait_s: float) -> None:
        """Return when something was appended, or after a while."""
        grown: asyncio.Future[None] = self.network.loop.create_future()
        self._waiting.append(grown)
        await asyncio.wait({grown}, timeout=wait_s)

    def wake(self) -> None:
        """Let those go on who wait for growth."""
        waiting, self._waiting = self._waiting, []
        for grown in waiting:
            answer(grown, None)

    def _serve(
        self, who: object, name: str, run: Callable[[], Any], answered: "asyncio.Future[Any]"
    ) -> None:
        fate = Fate.LOST if self.down else self.network.fate()
        if fate is Fate.LOST:
            self._answer(answered, KafkaConnectionError("lost"))
            return
        try:
            result = run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer.
            result = error
        lost = fate is Fate.ANSWER_LOST
        self.network.note(f"kafka {who} {name}{' answer lost' if lost else ''}")
        self._answer(answered, KafkaConnectionError("lost") if lost else result)

    def _answer(self, answered: "asyncio.Future[Any]", result: Any) -> None:
        if self.network.slowness_s and self.network.chance.random() < 0.25:
            self.network.at_server(self.network.delay_s(), answer, answered, result)
        else:
            answer(answered, result)
