"""Owns the proof that a topic and a log are one history, which gives the relay its cursor.

Must not publish, and must not change the log.
"""

import orjson

from shared.contracts.envelope import Event, leaf_of
from shared.eventstore.reader import LogReader
from shared.messaging.topic_reader import Record, TopicReader


class RelayStoppedError(Exception):
    """Nothing may be published until an operator has looked; `reason` is a stable name.

    Reasons: `forked` (topics and log disagree; the log is halted too), `topic-lost` (the topic no
    longer holds what was published on it), `topic-unreadable` (it ends with a record that is no
    event), `topic-misconfigured`, `halted` (an operator has not lifted the halt), `fault`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


async def prove_tail(topic: TopicReader, log: LogReader, published: int) -> tuple[int, int]:
    """Return the position that the topic ends with, 0 for a new one, and its end offset.

    `published` is how much is known to have been on it.

    Raises: RelayStoppedError; KafkaUnreachableError.
    """
    first, end = await topic.bounds()
    if end == first:
        if published or end:
            raise RelayStoppedError("topic-lost", f"it is empty, but had {published} events")
        return 0, end
    await _check_beginning(topic, first)
    tail = await _record(topic, end - 1)
    topic.pause()
    position = position_of(tail)
    # The head is read after the tail: it can only be further by then.
    head = (await log.head()).position
    if position > head:
        raise RelayStoppedError("forked", f"the topic ends at {position}, the log at {head}")
    logged = await log.at(position)
    if logged is None or not same_event(tail.value or b"", logged):
        raise RelayStoppedError("forked", f"topic and log hold different events at {position}")
    return position, end


async def _check_beginning(topic: TopicReader, first: int) -> None:
    position = position_of(await _record(topic, first))
    if position != 1:
        raise RelayStoppedError("topic-lost", f"its first event is {position} instead of 1")


async def _record(topic: TopicReader, offset: int) -> Record:
    record = await topic.record_at(offset)
    if record is None:
        raise RelayStoppedError("topic-lost", f"offset {offset} is gone while it was looked at")
    return record


def position_of(record: Record) -> int:
    """Read a published event's position.

    Raises: RelayStoppedError when the record is no event.
    """
    try:
        return int(orjson.loads(record.value or b"")["position"])
    except (ValueError, KeyError, TypeError) as error:
        detail = f"the record at offset {record.offset} is no event"
        raise RelayStoppedError("topic-unreadable", detail) from error


def same_event(published: bytes, logged: Event) -> bool:
    """Whether a record is the logged event; its content may have been redacted since."""
    if published == logged.body:
        return True
    return logged.data is None and leaf_of(published) == leaf_of(logged.body)
