"""Owns what a topic says that the log was: which bytes were published at which position.

Must not talk to Kafka. Records may come again, with the same bytes; none may be left out.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256

from shared.audit.canonical import read_value
from shared.audit.findings import Fault
from shared.audit.merkle import HASH_BYTES

_REPORT_EVERY = 10_000


@dataclass(slots=True)
class TopicReading:
    """The SHA-256 of what was published at positions 1, 2, 3, ..., up to the first fault."""

    digests: bytearray = field(default_factory=bytearray)
    repeated: int = 0
    fault: Fault | None = None

    @property
    def position(self) -> int:
        """The last position that was published."""
        return len(self.digests) // HASH_BYTES

    def digest_at(self, position: int) -> bytes:
        """The digest of the record at a position that was published."""
        return bytes(self.digests[(position - 1) * HASH_BYTES : position * HASH_BYTES])

    def add(self, record: bytes) -> None:
        """Take the next record; a fault ends the reading."""
        position = _position_of(record)
        due = self.position + 1
        digest = sha256(record).digest()
        if position is None or position < 1:
            self.fault = Fault(due, "topic-unreadable", "a record of the topic is not an event")
        elif position > due:
            detail = f"the topic goes from position {due - 1} to {position}"
            self.fault = Fault(due, "topic-gap", detail)
        elif position == due:
            self.digests += digest
        elif digest == self.digest_at(position):
            self.repeated += 1
        else:
            detail = "the topic holds two records with this position and other bytes"
            self.fault = Fault(position, "topic-repeats-otherwise", detail)

    def compare(self, first_position: int, digests: bytes) -> int | None:
        """The first position from `first_position` on where rows differ from what was published."""
        start = (first_position - 1) * HASH_BYTES
        published = bytes(self.digests[start : start + len(digests)])
        if digests.startswith(published):
            return None
        for at in range(0, len(published), HASH_BYTES):
            if digests[at : at + HASH_BYTES] != published[at : at + HASH_BYTES]:
                return first_position + at // HASH_BYTES
        return None


async def read_topic(
    records: AsyncIterator[bytes], on_progress: Callable[[int], None] = lambda _position: None
) -> TopicReading:
    """Read records from the topic's start to its end, or to the first that should not be there."""
    reading = TopicReading()
    async for record in records:
        reading.add(record)
        if reading.fault is not None:
            break
        if reading.position % _REPORT_EVERY == 0:
            on_progress(reading.position)
    on_progress(reading.position)
    return reading


def _position_of(record: bytes) -> int | None:
    try:
        event, _end = read_value(record.decode())
        return int(event["position"])
    except (ValueError, KeyError, TypeError):
        return None
