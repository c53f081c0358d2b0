"""Owns putting an import through both doors, in order, whatever stops and comes back meanwhile.

Must not lose or reorder: a batch is sent again until it is answered, and only then the next.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson

from cli.failures import Failure, faults
from cli.importing.submission import Submission
from shared.clock import new_id
from shared.contracts.topics import submissions_topic
from shared.http.client import ApiClient
from shared.messaging.kafka import (
    KafkaSettings,
    KafkaUnreachableError,
    drop_producer,
    list_topics,
    reaching_kafka,
    start_producer,
)

HTTP_BATCH: Final = 200
KAFKA_BATCH: Final = 200
_BATCH_BYTES: Final = 900_000
_SEND_DEADLINE_S: Final = 30.0
PATIENCE_S: Final = 600.0
_POLL_S: Final = 0.1
_HEADERS: Final = [("content-type", b"application/cloudevents+json")]


class ImportRefusedError(Exception):
    """The registry refused a submission of the import, which a right import never sees."""


class ImportStalledError(Failure):
    """Nothing moved for as long as was waited for it."""

    def __init__(self, what: str, patience_s: float) -> None:
        advice = (
            "See `estate status`; run the same command again, and the import goes on where it was."
        )
        super().__init__(f"{what} within {patience_s:g} s.", advice)


@asynccontextmanager
async def _patience(limit_s: float, what: str) -> AsyncIterator[Callable[[], None]]:
    """Bound each standstill inside the block; what is yielded is called when something moved."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit_s) as limit:
            yield lambda: limit.reschedule(loop.time() + limit_s)
    except TimeoutError as error:
        raise ImportStalledError(what, limit_s) from error


@dataclass(slots=True)
class Pace:
    """Lets at most `rate` submissions a second through; all at once when there is no rate."""

    rate: float | None
    _next_at: float = field(default=0.0)

    @property
    def batch(self) -> int:
        """How many to send together."""
        return HTTP_BATCH if self.rate is None else max(1, min(HTTP_BATCH, int(self.rate / 4)))

    async def wait(self, count: int) -> None:
        """Wait until `count` more may be sent."""
        if self.rate is None:
            return
        loop = asyncio.get_running_loop()
        self._next_at = max(self._next_at, loop.time())
        await asyncio.sleep(self._next_at - loop.time())
        self._next_at += count / self.rate


async def send_over_http(
    client: ApiClient,
    submissions: Sequence[Submission],
    pace: Pace,
    on_sent: Callable[[int], None],
) -> None:
    """Send in order and wait for each batch's results.

    Raises: ImportRefusedError, ApiError, ApiUnreachable.
    """
    for batch in batched(submissions, pace.batch):
        await pace.wait(len(batch))
        answer = await client.post(
            "/v1/submissions",
            [one.to_cloudevent() for one in batch],
            idempotency_key=new_id("batch_"),
            content_type="application/cloudevents-batch+json",
        )
        for one, result in zip(batch, answer.json()["results"], strict=True):
            if result["status"] != "accepted":
                raise ImportRefusedError(_refusal(one, result["rejected"]))
        on_sent(len(batch))


async def send_over_kafka(
    settings: KafkaSettings,
    topic: str,
    submissions: Sequence[Submission],
    pace: Pace,
    on_sent: Callable[[int], None],
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    """Put on the topic in order; a producer that fails is replaced and its batch sent again.

    A repeat has the key of the first and no second effect.

    Raises: ImportStalledError when nothing was taken for `patience_s`.
    """
    remaining = [orjson.dumps(one.to_cloudevent()) for one in submissions]
    async with _patience(patience_s, "Kafka took no submission") as moved:
        while remaining:
            try:
                async for sent in _produce(settings, topic, remaining, pace):
                    remaining = remaining[sent:]
                    on_sent(sent)
                    moved()
            except KafkaUnreachableError:
                await asyncio.sleep(_POLL_S)


async def _produce(
    settings: KafkaSettings, topic: str, values: Sequence[bytes], pace: Pace
) -> AsyncIterator[int]:
    """Send batch by batch with one producer; yields how many were acknowledged."""
    producer = await start_producer(settings, batch_max_bytes=_BATCH_BYTES)
    try:
        for values_of_batch in batched(values, min(KAFKA_BATCH, pace.batch)):
            await pace.wait(len(values_of_batch))
            batch = producer.create_batch()
            taken = 0
            for value in values_of_batch:
                if batch.append(key=None, value=value, timestamp=None, headers=_HEADERS) is None:
                    break
                taken += 1
            batch.close()
            async with reaching_kafka(_SEND_DEADLINE_S):
                await (await producer.send_batch(batch, topic, partition=0))
            yield taken
            if taken < len(values_of_batch):
                raise KafkaUnreachableError("the batch was full; the rest follows")
    finally:
        await drop_producer(producer)


async def await_topic(
    settings: KafkaSettings, service: str, organisation: str, *, patience_s: float = PATIENCE_S
) -> str:
    """Wait until the service has made the organisation's submissions topic; return its name.

    Raises: ImportStalledError.
    """
    topic = submissions_topic(service, organisation)
    async with _patience(patience_s, f"The topic {topic} was not made"):
        while True:
            try:
                if topic in await list_topics(settings):
                    return topic
            except KafkaUnreachableError:
                pass
            await asyncio.sleep(_POLL_S)


async def await_settled(
    client: ApiClient, submissions: Sequence[Submission], *, patience_s: float = PATIENCE_S
) -> None:
    """Wait until the last submission is settled, which it is after all before it.

    Raises: ImportStalledError.
    """
    if not submissions:
        return
    what = f"Submission {submissions[-1].source} {submissions[-1].id} was not decided"
    async with _patience(patience_s, what):
        while await status_of(client, submissions[-1]) not in {"accepted", "rejected"}:
            await asyncio.sleep(_POLL_S)


async def require_accepted(client: ApiClient, submissions: Sequence[Submission]) -> None:
    """Look every submission up.

    Raises: ImportRefusedError naming one that was not accepted.
    """
    gate = asyncio.Semaphore(20)

    async def check(one: Submission) -> None:
        async with gate:
            answer = await _look_up(client, one)
        if answer["status"] != "accepted":
            raise ImportRefusedError(_refusal(one, answer.get("rejected")))

    await asyncio.gather(*(check(one) for one in submissions))


async def status_of(client: ApiClient, submission: Submission) -> str:
    """What came of a submission so far: accepted, rejected, pending or unknown."""
    return str((await _look_up(client, submission))["status"])


async def _look_up(client: ApiClient, submission: Submission) -> Any:
    query = {"source": submission.source, "id": submission.id}
    return (await client.get("/v1/submissions", query)).json()


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut into runs of `size`, the last maybe shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _refusal(submission: Submission, problem: Mapping[str, Any] | None) -> str:
    which = f"{submission.source} {submission.id} ({submission.type})"
    told = problem or {"title": "no reason is known"}
    return f"{which} was refused: {'; '.join([str(told.get('title')), *faults(told)])}"
