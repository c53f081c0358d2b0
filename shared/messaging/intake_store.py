"""Owns how far each submissions topic has been taken, and what was refused from it.

Must not advance an offset without what it passes over: both are one transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from shared.eventstore.reader import Pool
from shared.messaging.submissions import EXPIRED

_BEGIN: Final = """
INSERT INTO messaging.intake_offsets (topic, partition)
SELECT * FROM unnest($1::text[], $2::integer[]) ON CONFLICT DO NOTHING
"""
_MARKS: Final = """
SELECT topic, partition, next_offset, last_digest FROM messaging.intake_offsets
WHERE topic = ANY($1)
"""
_ADVANCE: Final = """
UPDATE messaging.intake_offsets AS mark
SET next_offset = move.upto, last_digest = move.digest, updated_at = clock_timestamp()
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[])
    AS move (topic, partition, behind, upto, digest)
WHERE mark.topic = move.topic AND mark.partition = move.partition
    AND mark.next_offset = move.behind
RETURNING true
"""
_REJECT: Final = f"""
WITH {EXPIRED}
INSERT INTO messaging.rejections
    (organisation, source, id, reason, digest, original, topic, partition, kafka_offset)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[],
    $7::text[], $8::integer[], $9::bigint[])
"""  # noqa: S608 - both parts are static text.


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a partition was taken, and the digest of the last record before that."""

    next_offset: int
    last_digest: bytes | None


@dataclass(frozen=True, slots=True)
class Move:
    """A step of one partition's mark, from the stored value to a new one."""

    place: TopicPartition
    behind: int
    upto: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refused record, for its sender."""

    organisation: str
    source: str | None
    id: str | None
    reason: str
    digest: bytes
    original: bytes
    place: TopicPartition
    offset: int


class MarkMovedError(Exception):
    """Another intake has taken these records."""


class IntakeStore:
    """The intake's statements, each with a deadline."""

    def __init__(self, pool: Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def marks(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Mark]:
        """Read how far partitions were taken; a new one begins at 0."""
        topics, partitions = [p.topic for p in places], [p.partition for p in places]
        await self._pool.execute(_BEGIN, topics, partitions, timeout=self._timeout_s)
        rows = await self._pool.fetch(_MARKS, topics, timeout=self._timeout_s)
        return {
            TopicPartition(row["topic"], row["partition"]): Mark(
                row["next_offset"], row["last_digest"]
            )
            for row in rows
        }

    async def advance(self, moves: Sequence[Move], rejections: Sequence[Rejection]) -> None:
        """Store what was refused and move the marks past what was settled: all or nothing.

        Raises: MarkMovedError when any mark is not where it was.
        """
        columns = zip(
            *((m.place.topic, m.place.partition, m.behind, m.upto, m.digest) for m in moves),
            strict=True,
        )
        async with (
            self._pool.acquire(timeout=self._timeout_s) as connection,
            connection.transaction(),
        ):
            moved = await connection.fetch(_ADVANCE, *columns, timeout=self._timeout_s)
            if len(moved) != len(moves):
                raise MarkMovedError
            if rejections:
                rows = zip(*(_row(r) for r in rejections), strict=True)
                await connection.execute(_REJECT, *rows, timeout=self._timeout_s)


def _row(rejection: Rejection) -> tuple[object, ...]:
    return (
        rejection.organisation,
        rejection.source,
        rejection.id,
        rejection.reason,
        rejection.digest,
        rejection.original,
        rejection.place.topic,
        rejection.place.partition,
        rejection.offset,
    )
