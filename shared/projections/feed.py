"""Owns the words between a projection and the log it follows, whatever carries that log.

Must not know Postgres or Kafka.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.contracts.envelope import Event


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a projection has read one log.

    `digest` is the leaf hash of the event at `position`, by which a feed proves that it is still
    reading the same history; `offset` is where Kafka had that event, None for a feed from the log.
    Position 0 is the start: no digest, no offset.
    """

    log: str
    position: int = 0
    timeline: int = 1
    digest: bytes | None = None
    offset: int | None = None
    publication: int = 1


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Events behind a checkpoint in ascending order, without gap or repeat, and where they end.

    `end` is the checkpoint to store with what the events lead to. `head` is the log's last position
    as far as the feed knows it, for telling the lag.
    """

    events: Sequence[Event]
    end: Checkpoint
    head: int


class FeedStoppedError(Exception):
    """The feed cannot go on by itself; `reason` is a stable name for health and operators.

    Reasons: `gap` (a position is missing), `other-history` (the record at the stored offset or the
    event at the stored position is not the one that was applied), `unreadable` (bytes that are no
    event), `other-timeline`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class FeedUnavailableError(Exception):
    """The carrier cannot be reached now; reading again later may work."""


class Feed(Protocol):
    """One log as a projection follows it."""

    @property
    def log(self) -> str:
        """The log's name."""
        ...

    @property
    def dropped(self) -> int:
        """How many repeats the carrier brought that were not delivered again."""
        ...

    async def read(self, after: Checkpoint, limit: int, wait_s: float) -> FeedBatch:
        """Read at most `limit` events behind `after`; with none yet, wait up to `wait_s` for one.

        Proves first, after a start or a reconnect, that `after` is in this history.

        Raises: FeedStoppedError, FeedUnavailableError.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
