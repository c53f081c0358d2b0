"""Owns a clock that tests move by hand.

Must not look at the machine's time.
"""

from datetime import UTC, datetime, timedelta


class HandClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self._now = datetime(2026, 6, 1, 12, tzinfo=UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The instant it was moved to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds it was moved to."""
        return self._monotonic

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
