"""Owns following a log on its topic from a checkpoint, proving that it is still the same history.

Must not belong to a consumer group, and must not take silence or an offset on trust.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from shared.clock import Clock
from shared.contracts.envelope import Event, leaf_of, parse_event
from shared.contracts.topics import events_topic
from shared.messaging.kafka import Kafka, KafkaUnreachableError
from shared.messaging.topic_reader import OffsetGoneError, Record, TopicReader
from shared.projections.feed import (
    Checkpoint,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)

_log = structlog.get_logger(__name__)

_SEARCH_RECORDS: Final = 5_000


@dataclass(frozen=True, slots=True)
class TopicFeedLimits:
    """Bounds of a feed; see docs/configuration.md."""

    proof_interval_s: float = 4.0
    request_deadline_s: float = 4.0
    delivery_deadline_s: float = 5.0
    fetch_max_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Followed:
    """What records led to: events to deliver, their end, repeats dropped, what stopped it."""

    events: Sequence[Event]
    end: Checkpoint
    dropped: int
    fault: FeedStoppedError | None


def follow(after: Checkpoint, records: Sequence[Record], publication: int) -> Followed:
    """Apply the rule of the log to records: repeats are dropped, what follows on is delivered.

    The first record that is neither ends it, as `fault`. A later timeline may follow on, since a
    new publication holds the old timeline's events before the new one's; an earlier may not.
    """
    events: list[Event] = []
    position, timeline, offset, dropped = after.position, after.timeline, after.offset, 0
    fault = None
    for record in records:
        try:
            event = _read(record, after.log)
            if event.position <= position:
                dropped += 1
                continue
            _check_next(event, position, timeline)
        except FeedStoppedError as error:
            fault = error
            break
        events.append(event)
        position, timeline, offset = event.position, event.timeline, record.offset
    if not events:
        return Followed((), after, dropped, fault)
    digest = leaf_of(events[-1].body)
    end = Checkpoint(after.log, position, timeline, digest, offset, publication)
    return Followed(events, end, dropped, fault)


def _read(record: Record, log: str) -> Event:
    try:
        event = parse_event(record.value or b"")
    except ValueError as error:
        detail = f"the record at offset {record.offset} is no event"
        raise FeedStoppedError("unreadable", detail) from error
    if event.log != log:
        detail = f"the record at offset {record.offset} belongs to another log"
        raise FeedStoppedError("unreadable", detail)
    return event


def _check_next(event: Event, position: int, timeline: int) -> None:
    if event.position > position + 1:
        raise FeedStoppedError("gap", f"{event.where} came behind {position}")
    if event.timeline < timeline:
        raise FeedStoppedError("other-timeline", f"{event.where} came on timeline {timeline}")


class TopicFeed:
    """One log as its topic carries it; implements `Feed`.

    `dropped` counts records whose position had been delivered before.
    """

    def __init__(
        self,
        log: str,
        publication: int,
        kafka: Kafka,
        clock: Clock,
        *,
        limits: TopicFeedLimits | None = None,
    ) -> None:
        self._name = log
        self._publication = publication
        self._topic = events_topic(log, publication)
        self._kafka = kafka
        self._clock = clock
        self._limits = limits or TopicFeedLimits()
        self._reader: TopicReader | None = None
        self._placed: Checkpoint | None = None
        self._next_offset = 0
        self._proven_at = 0.0
        self.dropped = 0

    @property
    def log(self) -> str:
        """The log's name."""
        return self._name

    async def read(self, after: Checkpoint, limit: int, wait_s: float) -> FeedBatch:
        """See `Feed.read`. `head` counts records not read yet: exact when there are no repeats.

        Raises: FeedStoppedError, FeedUnavailableError.
        """
        try:
            return await self._read(after, limit, wait_s)
        except KafkaUnreachableError as error:
            await self.close()
            raise FeedUnavailableError(f"{self._topic}: {error}") from error
        except BaseException:
            # The consumer may have moved on by records that nobody was given.
            self._placed = None
            raise

    async def close(self) -> None:
        """Let the connection go; the next read makes another, and proves its place again."""
        reader, self._reader, self._placed = self._reader, None, None
        if reader is not None:
            await reader.close()

    async def _read(self, after: Checkpoint, limit: int, wait_s: float) -> FeedBatch:
        deadline = self._clock.monotonic() + wait_s
        while True:
            reader, after = await self._place(after)
            left_s = max(0.0, deadline - self._clock.monotonic())
            records = await self._poll(reader, limit, min(left_s, self._limits.proof_interval_s))
            if records is None:
                self._placed = None
                continue
            followed = follow(after, records, self._publication)
            self.dropped += followed.dropped
            if followed.fault is not None and not followed.events:
                raise followed.fault
            # What stopped it is met again, alone, by the next read.
            self._placed = None if followed.fault else followed.end
            if followed.events or self._clock.monotonic() >= deadline:
                return self._batch(reader, followed)

    def _batch(self, reader: TopicReader, followed: Followed) -> FeedBatch:
        unread = reader.known_end(self._next_offset) - self._next_offset
        return FeedBatch(followed.events, followed.end, followed.end.position + unread)

    async def _poll(self, reader: TopicReader, limit: int, wait_s: float) -> list[Record] | None:
        """Read what is there. An empty list is proven to be no news; None: the topic shrank."""
        waited_from = self._clock.monotonic()
        try:
            records = await reader.poll(limit, wait_s)
            while not records:
                end = await reader.end()
                if end <= self._next_offset:
                    return [] if end == self._next_offset else None
                if (
                    self._clock.monotonic() - waited_from
                    > wait_s + self._limits.delivery_deadline_s
                ):
                    raise KafkaUnreachableError(f"records before {end} are not delivered")
                records = await reader.poll(limit, 0.2)
        except OffsetGoneError:
            return None
        self._next_offset = records[-1].offset + 1
        return records

    async def _place(self, after: Checkpoint) -> tuple[TopicReader, Checkpoint]:
        """Have the consumer right behind `after`, proven no longer ago than the interval."""
        if self._reader is None:
            self._reader = await TopicReader.open(
                self._kafka,
                self._topic,
                deadline_s=self._limits.request_deadline_s,
                fetch_max_bytes=self._limits.fetch_max_bytes,
            )
        placed = self._placed
        known = placed is not None and _same_place(placed, after)
        if placed is not None and known:
            if self._clock.monotonic() - self._proven_at < self._limits.proof_interval_s:
                return self._reader, placed
            after = placed
        resume_at = self._next_offset if known else 0
        self._placed = None
        after = await self._prove(self._reader, after)
        if resume_at > self._next_offset:
            # Repeats behind the checkpoint were dropped already.
            self._reader.seek(resume_at)
            self._next_offset = resume_at
        self._proven_at = self._clock.monotonic()
        self._placed = after
        return self._reader, after

    async def _prove(self, reader: TopicReader, after: Checkpoint) -> Checkpoint:
        """Find the checkpoint's event on the topic and go on behind it.

        Raises: FeedStoppedError; KafkaUnreachableError.
        """
        first, end = await reader.bounds()
        if after.position == 0:
            reader.seek(first)
            self._next_offset = first
            return after
        if after.offset is not None and after.publication == self._publication:
            found = first <= after.offset < end and await reader.record_at(after.offset)
            if found and _is_at(found, after):
                self._next_offset = after.offset + 1
                return after
        offset = await self._search(reader, after, first, end)
        _log.info("feed_placed_anew", topic=self._topic, position=after.position, offset=offset)
        reader.seek(offset + 1)
        self._next_offset = offset + 1
        return replace(after, offset=offset, publication=self._publication)

    async def _search(self, reader: TopicReader, after: Checkpoint, first: int, end: int) -> int:
        """Read from the start for the event that was applied last."""
        place = f'"position":"{after.position}"'.encode()
        reader.seek(first)
        self._next_offset = first
        while self._next_offset < end:
            records = await self._poll(reader, _SEARCH_RECORDS, 1.0)
            for record in records or ():
                if place in (record.value or b"") and _is_at(record, after):
                    return record.offset
            if not records:
                break
            await asyncio.sleep(0)
        detail = f"{self._topic} does not hold the event that was applied at {after.position}"
        raise FeedStoppedError("other-history", detail)


def _same_place(one: Checkpoint, other: Checkpoint) -> bool:
    return (one.position, one.digest) == (other.position, other.digest)


def _is_at(record: Record, checkpoint: Checkpoint) -> bool:
    """Whether the record is the event that the checkpoint was taken at."""
    try:
        return leaf_of(record.value or b"") == checkpoint.digest
    except (ValueError, TypeError, AttributeError):
        return False
