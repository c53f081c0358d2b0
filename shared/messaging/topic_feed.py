"""Owns following a log on its newest topic from a checkpoint, proving that the history is the same.

Must not belong to a consumer group, and must not take silence or an offset on trust.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from shared.clock import Clock
from shared.contracts.envelope import Event, leaf_of, parse_event
from shared.contracts.topics import events_topic, newest_publication
from shared.failpoints import reach
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
    """One log as its newest publication carries it; implements `Feed`.

    A publication with a higher number is found within the proof's interval. It is waited for until
    it holds the checkpoint's event, since the one before is not written to any more. `dropped`
    counts records whose position had been delivered before.
    """

    def __init__(
        self,
        log: str,
        kafka: Kafka,
        clock: Clock,
        *,
        limits: TopicFeedLimits | None = None,
    ) -> None:
        self._name = log
        self._publication = 1
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

    @property
    def _topic(self) -> str:
        return events_topic(self._name, self._publication)

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
            if followed.events:
                reach("feed.read")
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
        placed, last = self._placed, self._reader
        known = placed is not None and _same_place(placed, after)
        if last is not None and placed is not None and known:
            if self._clock.monotonic() - self._proven_at < self._limits.proof_interval_s:
                return last, placed
            after = placed
        self._placed = None
        reader = await self._open_newest(after)
        resume_at = self._next_offset if known and reader is last else 0
        after = await self._prove(reader, after)
        if resume_at > self._next_offset:
            if await self._is_repeat(reader, resume_at - 1, after):
                # Those behind the checkpoint were dropped already.
                self._next_offset = resume_at
            reader.seek(self._next_offset)
        self._proven_at = self._clock.monotonic()
        self._placed = after
        return reader, after

    async def _is_repeat(self, reader: TopicReader, offset: int, after: Checkpoint) -> bool:
        """Whether it was delivered before; on a topic that was made again it may be news."""
        record = await reader.record_at(offset)
        return record is not None and _read(record, after.log).position <= after.position

    async def _open_newest(self, after: Checkpoint) -> TopicReader:
        """Have the log's newest publication open, which is none before the checkpoint's."""

        def newest(topics: set[str]) -> int:
            return max(newest_publication(self._name, topics), after.publication)

        def choose(topics: set[str]) -> str:
            self._publication = newest(topics)
            return self._topic

        if self._reader is not None:
            if newest(await self._reader.topics()) == self._publication:
                return self._reader
            await self.close()
        self._reader = await TopicReader.open_chosen(
            self._kafka,
            choose,
            deadline_s=self._limits.request_deadline_s,
            fetch_max_bytes=self._limits.fetch_max_bytes,
        )
        return self._reader

    async def _prove(self, reader: TopicReader, after: Checkpoint) -> Checkpoint:
        """Find the checkpoint's event on the topic and go on behind it.

        Raises: FeedStoppedError; FeedUnavailableError; KafkaUnreachableError.
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
        if end == first:
            raise FeedUnavailableError(f"{self._topic} is empty")
        self._check_reaches(await reader.record_at(end - 1), after)
        # Every position before it comes before it at least once.
        offset = await self._search(reader, after, max(first, after.position - 1), end)
        _log.info("feed_placed_anew", topic=self._topic, position=after.position, offset=offset)
        reader.seek(offset + 1)
        self._next_offset = offset + 1
        return replace(after, offset=offset, publication=self._publication)

    def _check_reaches(self, tail: Record | None, after: Checkpoint) -> None:
        """Look whether the topic goes as far as the checkpoint, or will never.

        Raises: FeedUnavailableError while it may be on its way; FeedStoppedError.
        """
        if tail is None:
            raise FeedUnavailableError(f"{self._topic} has changed while it was looked at")
        last = _read(tail, after.log)
        if last.position >= after.position:
            return
        detail = f"{self._topic} ends at {last.where}, before {after.position}"
        if last.timeline > after.timeline:
            raise FeedStoppedError("other-history", detail)
        raise FeedUnavailableError(detail)

    async def _search(self, reader: TopicReader, after: Checkpoint, first: int, end: int) -> int:
        """Read on from an offset for the event that was applied last."""
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
