"""Owns what an import hands on: submissions, the source row each comes from, and their doors.

Must not know any source's format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

MAX_REASON_LENGTH: Final = 500
MAX_ID_LENGTH: Final = 200

Door = Literal["http", "kafka"]


def door(index: int) -> Door:
    """The door of the thing that appeared as number `index` (from 0): they alternate.

    All changes of one thing go through one door, for nothing orders one door after the other.
    """
    return "http" if index % 2 == 0 else "kafka"


@dataclass(frozen=True, slots=True)
class Submission:
    """One imperative CloudEvent, ready to send; the same source and id always have the same body.

    `verb` is the type without `estate.` and `.v1`, such as `service.register`.

    Raises: ValueError when the id is not 1 to 200 printable ASCII characters.
    """

    source: str
    id: str
    verb: str
    subject: str
    effective_at: datetime
    correlation_id: str
    data: Mapping[str, Any]
    door: Door

    def __post_init__(self) -> None:
        printable = self.id.isascii() and self.id.isprintable()
        if not (printable and 1 <= len(self.id) <= MAX_ID_LENGTH):
            raise ValueError(f"{self.id[:80]!r} is no id of a submission")

    @property
    def type(self) -> str:
        """The CloudEvents type, such as `estate.service.register.v1`."""
        return f"estate.{self.verb}.v1"

    def to_cloudevent(self) -> dict[str, Any]:
        """The submission in the JSON form of CloudEvents 1.0."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.effective_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "correlationid": self.correlation_id,
            "data": dict(self.data),
        }


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A source row and what it means: submissions, or else the reason why it has none."""

    seq: int
    key: str
    commit: str
    date: datetime
    submissions: tuple[Submission, ...]
    reason_without_event: str | None
