"""Owns what the relay asks of the log's database: what comes next, how far it was, the halt.

Must not touch Kafka.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.eventstore.reader import Pool

_HEAD: Final = "SELECT position, publication, timeline, halted FROM log.head"
# The size of what is read is bounded too: a few large events are as much as many small ones.
_AHEAD: Final = """
SELECT position, stream, body FROM (
    SELECT position, stream, body, sum(octet_length(body)) OVER (ORDER BY position) AS so_far
    FROM (
        SELECT position, stream, body FROM log.events
        WHERE position > $1 ORDER BY position LIMIT $2
    ) AS next_events
) AS ahead
WHERE so_far <= $3 OR position = $1 + 1
ORDER BY position
"""
_PUBLISHED: Final = "SELECT published FROM messaging.publications WHERE publication = $1"
_NOTE_PUBLISHED: Final = """
INSERT INTO messaging.publications AS known (publication, published) VALUES ($1, $2)
ON CONFLICT (publication) DO UPDATE
SET published = excluded.published, updated_at = clock_timestamp()
WHERE known.published < excluded.published
"""
_HALT: Final = "UPDATE log.head SET halted = $1 WHERE halted IS NULL"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way to the topic: `body` is the record's value, `stream` its key."""

    position: int
    stream: str
    body: bytes


@dataclass(frozen=True, slots=True)
class HeadState:
    """What of the head decides what the relay may do."""

    position: int
    publication: int
    timeline: int
    halted: str | None

    def same_history(self, other: "HeadState") -> bool:
        """Whether both belong to one publication of one timeline, and neither is halted."""
        return (self.publication, self.timeline, self.halted) == (
            other.publication,
            other.timeline,
            other.halted,
        )


class RelayLog:
    """The relay's statements, each with a deadline."""

    def __init__(self, pool: Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def head(self) -> HeadState:
        """Read the head.

        Raises: LookupError when the log was never opened.
        """
        row = await self._pool.fetchrow(_HEAD, timeout=self._timeout_s)
        if row is None:
            raise LookupError("the log was never opened")
        return HeadState(row["position"], row["publication"], row["timeline"], row["halted"])

    async def ahead(self, position: int, limit: int, max_bytes: int) -> Sequence[Outgoing]:
        """Read what comes behind a position: at least one event if there is any."""
        rows = await self._pool.fetch(_AHEAD, position, limit, max_bytes, timeout=self._timeout_s)
        return [Outgoing(row["position"], row["stream"], row["body"]) for row in rows]

    async def published(self, publication: int) -> int:
        """How far the publication is known to have been on its topic; 0 when it never was."""
        known = await self._pool.fetchval(_PUBLISHED, publication, timeout=self._timeout_s)
        return known or 0

    async def note_published(self, publication: int, position: int) -> None:
        """Remember that the topic holds this much."""
        await self._pool.execute(_NOTE_PUBLISHED, publication, position, timeout=self._timeout_s)

    async def halt(self, reason: str) -> None:
        """Make every writer of the log refuse, until an operator lifts it."""
        await self._pool.execute(_HALT, reason, timeout=self._timeout_s)
