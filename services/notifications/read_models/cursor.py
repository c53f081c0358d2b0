"""Owns the cursor of the change feed: one position per log, and how it is written.

Must not look anything up: whether a position is of this history is the reader's concern.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from services.notifications.read_models.projection import CHANGES
from shared.contracts.names import Position, parse_positions

Vector: TypeAlias = Mapping[str, Position]
"""How far each log was considered; it has an entry for every log of the feed."""

START: Final[Vector] = {log: Position(log, 0) for log in CHANGES.logs}
MAX_CURSOR_CHARS: Final = 256
_OPAQUE: Final = re.compile(r"[A-Za-z0-9_-]+")
_REFUSED: Final = "is not a cursor of the change feed"


def write_cursor(vector: Vector) -> str:
    """The opaque form, safe in a URL and as the id of a server-sent event."""
    plain = ",".join(str(vector[log]) for log in CHANGES.logs)
    return base64.urlsafe_b64encode(plain.encode("ascii")).rstrip(b"=").decode("ascii")


def parse_cursor(text: str) -> Vector:
    """Read the opaque form, or the plain `registry:12,dependencies:3`; a log left out is at 0.

    Raises: ValueError, whose text does not repeat the input.
    """
    if not 0 < len(text) <= MAX_CURSOR_CHARS:
        raise ValueError(_REFUSED)
    plain = text if ":" in text else _revealed(text)
    try:
        positions = parse_positions(plain)
    except ValueError:
        raise ValueError(_REFUSED) from None
    if any(position.log not in START for position in positions):
        raise ValueError("names a log that this feed does not follow")
    return {**START, **{position.log: position for position in positions}}


def furthest(one: Position, other: Position) -> Position:
    """The one that lies further on in their log."""
    return max(one, other, key=lambda position: position.position)


def reaches(vector: Vector, other: Vector, logs: Iterable[str]) -> bool:
    """Whether `vector` has come at least as far as `other` in each of these logs."""
    return all(vector[log].position >= other[log].position for log in logs)


def _revealed(text: str) -> str:
    if not _OPAQUE.fullmatch(text):
        raise ValueError(_REFUSED)
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        plain = raw.decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(_REFUSED) from None
    # Only one spelling of each cursor: spare bits of the last character must be zero.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != text:
        raise ValueError(_REFUSED)
    return plain
