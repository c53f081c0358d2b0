"""Owns what the verifier is given about a log beside its rows, and what it finds.

Must not say anything of an event's content: reports are shown to everybody.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadRow:
    """Where the service says that its log ends.

    `recorded_us` counts microseconds from 2000-01-01T00:00:00Z, as Postgres does; `tree` holds the
    roots of the complete subtrees of RFC 6962, largest first.
    """

    log: str
    timeline: int
    publication: int
    position: int
    recorded_us: int
    tree: bytes


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """What an auditor kept of a log: its root when it was `position` events long."""

    log: str
    timeline: int
    position: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as a log has to be; `position` is None when no one event is at fault.

    `reason` is a constant that programs may compare; `detail` is for people.
    """

    position: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class LogReport:
    """What the verification of one log came to.

    `position` and `root` are those recomputed from the rows, up to the first fault if there is one.
    `checked` counts the events that were found right. `redacted` counts events without their data;
    nothing but the topic can tell whether that was meant. `topic_position` is where the topic
    ends, None when no topic was read.
    """

    log: str
    timeline: int
    position: int
    root: bytes
    first_fault: Fault | None
    checked: int
    redacted: int = 0
    topic_position: int | None = None


def lowest(faults: Iterable[Fault | None]) -> Fault | None:
    """The fault with the lowest position; one without a position comes last."""
    found = [fault for fault in faults if fault is not None]
    return min(found, key=_order, default=None)


def _order(fault: Fault) -> tuple[bool, int]:
    return fault.position is None, fault.position or 0
