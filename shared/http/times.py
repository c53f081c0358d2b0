"""Owns the two time parameters of every read: `as_of` (effective) and `known_at` (recorded).

Must not look anything up: whether a position exists is the reader's concern.
"""

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from shared.clock import end_of_day, parse_instant
from shared.contracts.known_at import KnownAt
from shared.contracts.names import parse_positions
from shared.contracts.topics import LOGS

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_POSITIONS = re.compile(r"[a-z]+(?:@[0-9]+)?:[0-9].*")
_LOST_PLUS = re.compile(r"(T[0-9:.]+) ([0-9]{2}:[0-9]{2})")


def parse_as_of(text: str) -> datetime:
    """Read an effective time: an instant with a zone, or a date: the end of that UTC day.

    Raises: ValueError.
    """
    if _DATE.fullmatch(text):
        try:
            return end_of_day(date.fromisoformat(text))
        except ValueError:
            raise ValueError("is not a date of the calendar") from None
    # A plus sign in a query arrives as a space unless the caller wrote it as %2B.
    try:
        return parse_instant(_LOST_PLUS.sub(r"\1+\2", text))
    except ValueError as error:
        raise ValueError(f"{error}; a date such as 2026-01-31 will do too") from None


def parse_known_at(text: str) -> KnownAt:
    """Read a known time: an instant, a date, or positions such as `registry:123,dependencies:45`.

    Positions come with the timeline of each.

    Raises: ValueError.
    """
    if not _POSITIONS.fullmatch(text):
        return KnownAt(parse_as_of(text))
    try:
        positions = parse_positions(text)
    except ValueError:
        raise ValueError("is not a list of positions such as registry:123") from None
    if any(p.log not in LOGS for p in positions):
        raise ValueError(f"is not a list of positions in the logs {' and '.join(LOGS)}")
    return KnownAt(
        positions={p.log: p.position for p in positions},
        timelines={p.log: p.timeline for p in positions},
    )


def _as_of(value: object) -> datetime:
    return parse_as_of(str(value))


def _known_at(value: object) -> KnownAt:
    return parse_known_at(str(value))


AsOf = Annotated[
    datetime,
    PlainValidator(_as_of),
    WithJsonSchema(
        {
            "type": "string",
            "description": "The state that was true in the world then: an instant with a zone, "
            "or a date, which means the end of that UTC day.",
            "examples": ["2026-03-31", "2026-03-31T12:00:00Z"],
        }
    ),
]
"""Type of an `as_of` parameter; write `as_of: AsOf | None = None`."""

KnownAtParameter = Annotated[
    KnownAt,
    PlainValidator(_known_at),
    WithJsonSchema(
        {
            "type": "string",
            "description": "What the registry knew then: an instant, a date, or positions.",
            "examples": ["2026-03-31", "registry:123,dependencies:45"],
        }
    ),
]
"""Type of a `known_at` parameter; write `known_at: KnownAtParameter | None = None`."""
