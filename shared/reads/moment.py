"""Owns the moment that a read is about: true in the world when, by what was known when.

Must not read a clock; the present is handed in.
"""

from dataclasses import dataclass, field
from datetime import datetime

from shared.contracts.known_at import EVERYTHING, KnownAt


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in effective time seen from a point in recorded time.

    `is_present` marks the plain question without either parameter, which current tables answer.
    `is_bounded` tells that `as_of` was asked for; else it is only when the question was asked.
    """

    as_of: datetime
    known: KnownAt = field(default=EVERYTHING)
    is_present: bool = True
    is_bounded: bool = False
