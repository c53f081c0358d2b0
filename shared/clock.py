"""Owns the sources of time and ids, and the one way to read and write an instant.

Must not be bypassed: no other module asks the machine for the time or makes up an id.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from typing import Protocol

import orjson
from uuid_utils import uuid7

IdSource = Callable[[str], str]
"""Makes an id that was never used before from its prefix: `svc_` gives `svc_0192...`."""

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?P<second>[0-9]{2})"
    r"(?:\.[0-9]{1,6})?(?P<zone>Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
_LONGEST_INSTANT = 32


class Clock(Protocol):
    """Where the time comes from; tests hand in one that they move by hand."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()


def new_id(prefix: str) -> str:
    """Return `prefix` and the 32 hexadecimal digits of a new UUIDv7."""
    return prefix + uuid7().hex


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant with a zone; the answer is in UTC.

    Stricter than the RFC where it leaves doubt: capital `T` and `Z`, at most six digits of a
    second, no leap second, no `-00:00` (an unknown zone).

    Raises: ValueError, whose text names the fault and never repeats the input.
    """
    match = _INSTANT.fullmatch(text) if len(text) <= _LONGEST_INSTANT else None
    if match is None:
        raise ValueError("is not an RFC 3339 instant such as 2026-01-31T09:30:00Z")
    zone = match["zone"]
    if zone is None:
        raise ValueError("has no time zone; end it with Z or an offset such as +01:00")
    if zone == "-00:00":
        raise ValueError("has the unknown time zone -00:00; use Z")
    if match["second"] > "59":
        raise ValueError("has a leap second, which is not accepted")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a date of the calendar between year 1 and year 9999") from None


def format_instant(value: datetime) -> str:
    """Write an aware instant as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    Raises: ValueError for an instant without a zone.
    """
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError("an instant without a time zone cannot be written")
        value = value.astimezone(UTC)
    # orjson writes an instant six times faster than isoformat, but leaves out a zero fraction.
    quoted = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode("ascii")
    return quoted[1:-1] if value.microsecond else quoted[1:-2] + ".000000Z"


def end_of_day(day: date) -> datetime:
    """The last microsecond of a UTC day: what a bare date means as a parameter."""
    return datetime.combine(day, time_of_day.max, UTC)
