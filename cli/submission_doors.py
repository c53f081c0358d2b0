"""Owns sending submissions through a door, HTTP or Kafka, and learning what came of each.

Must not send a submission again under another name: source and id make a repeat harmless.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from cli.asking import Service
from cli.failures import NothingRuns
from cli.local_state import KafkaAddress
from cli.submission_file import Outgoing
from shared.clock import Clock, new_id
from shared.contracts.topics import submissions_topic
from shared.messaging.kafka import (
    KafkaSettings,
    KafkaUnreachableError,
    drop_producer,
    list_topics,
    reaching_kafka,
    start_producer,
)

BATCH_MAX: Final = 500
BATCH_MAX_BYTES: Final = 3 * 1024 * 1024
_PRODUCER_BATCH_BYTES: Final = 1024 * 1024
_SEND_DEADLINE_S: Final = 60.0
_LOOKED_AT_ONCE: Final = 20
_LOOK_AGAIN_S: Final = 0.2
_HEADERS: Final = [("content-type", b"application/cloudevents+json")]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a submission: `accepted`, `rejected`, or still `pending`."""

    sent: Outgoing
    status: str
    accepted: Mapping[str, Any] | None = None
    rejected: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A submission on its topic, and its offset there."""

    sent: Outgoing
    offset: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Collects results as they come."""

    on_result: Callable[[Result], None]
    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Take a result."""
        self.results.append(result)
        self.on_result(result)


async def send_over_http(service: Service, submissions: Sequence[Outgoing], tally: Tally) -> None:
    """Post them in their order, in batches, each of which is answered before the next.

    Raises: ApiError, ApiUnreachable; what was answered before is in the tally.
    """
    for batch in batches(submissions):
        body = b"[" + b",".join(one.raw for one in batch) + b"]"
        # The key only tells the client that it may repeat; what counts is each source and id.
        answer = await service.api.post(
            "/v1/submissions",
            body,
            idempotency_key=new_id("batch_"),
            content_type="application/cloudevents-batch+json",
        )
        document = answer.json()
        results = document.get("results") if isinstance(document, dict) else None
        if not isinstance(results, list) or len(results) != len(batch):
            raise NothingRuns("The service did not say what came of each submission.")
        for sent, result in zip(batch, results, strict=True):
            tally.add(_result(sent, result))


def _result(sent: Outgoing, answer: Mapping[str, Any]) -> Result:
    status = str(answer.get("status"))
    return Result(sent, status, answer.get("accepted"), answer.get("rejected"))


def batches(submissions: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut into runs that one request may hold; one that is too large alone goes alone."""
    batch: list[Outgoing] = []
    size = 0
    for one in submissions:
        if batch and (len(batch) == BATCH_MAX or size + len(one.raw) > BATCH_MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.raw) + 1
    if batch:
        yield batch


async def send_over_kafka(
    address: KafkaAddress, organisation: str, service: str, submissions: Sequence[Outgoing]
) -> tuple[list[Placed], list[Result]]:
    """Put them on the organisation's topic in their order, on every in-sync replica.

    Returns what is on the topic, and the rejections of those that no topic takes.

    Raises: NothingRuns.
    """
    settings = KafkaSettings(**address.model_dump())
    topic = submissions_topic(service, organisation)
    try:
        if topic not in await list_topics(settings):
            advice = "The organisation must be registered; its topic is made moments later."
            raise NothingRuns(f"There is no topic {topic}.", advice)
        producer = await start_producer(settings, batch_max_bytes=_PRODUCER_BATCH_BYTES)
        try:
            return await _put(producer, topic, submissions)
        finally:
            await drop_producer(producer)
    except KafkaUnreachableError as error:
        raise NothingRuns(f"Kafka does not answer: {error}", "See `estate status`.") from error


async def _put(
    producer: AIOKafkaProducer, topic: str, submissions: Sequence[Outgoing]
) -> tuple[list[Placed], list[Result]]:
    refused = []
    waiting = []
    async with reaching_kafka(_SEND_DEADLINE_S):
        for one in submissions:
            try:
                sent = await producer.send(topic, one.raw, partition=0, headers=_HEADERS)
                waiting.append((one, sent))
            except MessageSizeTooLargeError:
                problem = {"title": "The submission is too large for Kafka"}
                refused.append(Result(one, "rejected", rejected=problem))
        placed = [Placed(one, (await sent).offset) for one, sent in waiting]
    return placed, refused


async def await_decisions(
    service: Service,
    submissions: Sequence[Placed],
    tally: Tally,
    clock: Clock,
    patience_s: float,
) -> None:
    """Ask until each is decided; those that nothing came of for `patience_s` stay pending.

    They are decided in their order, so only the first ones are asked for.
    """
    waiting = list(submissions)
    moved_at = clock.monotonic()
    while waiting and clock.monotonic() - moved_at < patience_s:
        front = waiting[:_LOOKED_AT_ONCE]
        results = await asyncio.gather(*(_look_up(service, one) for one in front))
        decided = [result for result in results if result.status in {"accepted", "rejected"}]
        for result in decided:
            tally.add(result)
        done = {result.sent.number for result in decided}
        waiting = [one for one in waiting if one.sent.number not in done]
        if decided:
            moved_at = clock.monotonic()
        else:
            await asyncio.sleep(_LOOK_AGAIN_S)
    for one in waiting:
        tally.add(Result(one.sent, "pending"))


async def _look_up(service: Service, placed: Placed) -> Result:
    sent = placed.sent
    answer = await service.document("/v1/submissions", {"source": sent.source, "id": sent.id})
    record = answer.get("record") or {}
    if answer.get("status") == "rejected" and record.get("offset", -1) < placed.offset:
        return Result(sent, "pending")  # An earlier one of this name was rejected, not this one.
    return _result(sent, answer)
