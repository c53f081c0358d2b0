"""Owns what one change is to those who read the feed."""

from dataclasses import dataclass, field
from datetime import datetime

from shared.contracts.names import Position


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a log, in the bytes that the log holds, with what it touches.

    `services` are ids, and the names by which a dependency's ends were declared.
    """

    where: Position
    type: str
    services: frozenset[str]
    organisations: frozenset[str]
    recorded_at: datetime
    body: bytes = field(repr=False)

    @property
    def log(self) -> str:
        """The log that holds it."""
        return self.where.log
