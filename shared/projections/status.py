"""Owns the words in which a projection's runner tells how it fares.

Must not decide anything.
"""

from dataclasses import dataclass
from enum import StrEnum

from shared.contracts.names import Position


class RunnerState(StrEnum):
    """What a runner, or its following of one log, is doing."""

    STARTING = "starting"
    FOLLOWING = "following"
    RETRYING = "retrying"
    REBUILDING = "rebuilding"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How one log is followed.

    `position` was applied last, `head` is the log's end as far as known, `lag` their distance.
    When stopped, `stopped_at` is the position that could not be applied, `reason` a stable name
    and `detail` a sentence; when retrying, `detail` is the last error.
    """

    position: Position
    head: int
    state: RunnerState = RunnerState.STARTING
    reason: str | None = None
    detail: str | None = None
    stopped_at: int | None = None
    events: int = 0
    batches: int = 0
    dropped: int = 0

    @property
    def lag(self) -> int:
        """How many known events are not applied."""
        return max(0, self.head - self.position.position)


@dataclass(frozen=True, slots=True)
class RebuildStatus:
    """How far a rebuild is; `eta_s` is None while nothing can be said."""

    done: int
    total: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How a projection fares. `state` is the worst of its logs'; reads go on in every state."""

    projection: str
    version: int
    generation: int | None
    state: RunnerState
    reason: str | None
    detail: str | None
    logs: dict[str, LogStatus]
    rebuild: RebuildStatus | None = None

    @property
    def positions(self) -> dict[str, Position]:
        """The positions applied, by log."""
        return {log: status.position for log, status in self.logs.items()}
