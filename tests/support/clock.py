"""Owns the clocks that tests hand in.

Must not let real time into a test that did not ask for it.
"""

import time
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class HandClock:
    """Stands still until moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        """The instant it was moved to."""
        return self._now

    def monotonic(self) -> float:
        """The seconds it was moved to."""
        return self._monotonic

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class ShiftedClock:
    """The machine's clock, off by some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        """The machine's time and what it is off by."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """The machine's own."""
        return time.monotonic()
