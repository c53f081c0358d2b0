"""Owns how much of the logs a question takes as known.

Must not look anything up: whether a position exists is the reader's concern.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class KnownAt:
    """How much of the logs is taken as known: an instant, an upper position per log, or both.

    A log that `positions` does not name is bounded by the instant alone. `timelines` says on
    which timeline a position stands, as far as that was said.
    """

    recorded_at: datetime | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    timelines: Mapping[str, int] = field(default_factory=dict)

    def arguments(self) -> tuple[datetime | None, list[str], list[int]]:
        """The last three arguments of the SQL functions `winning_facts` and `states_at`."""
        return self.recorded_at, list(self.positions), list(self.positions.values())


EVERYTHING: Final = KnownAt()
