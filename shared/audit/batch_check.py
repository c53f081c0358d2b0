"""Owns what must hold of rows that follow each other, as far as one batch of them shows.

Must stay cheap to load and free of state: it runs in worker processes.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from shared.audit.findings import Fault
from shared.audit.rows import Row, unpack_rows
from shared.audit.sealed_event import EventFaultError, SealedEvent, open_event

_COPIES: Final = ("position", "stream_version", "recorded_at", "leaf", "stream", "type")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the head says of every event, and whether bodies shall be hashed for the topic."""

    log: str
    timeline: int
    with_digests: bool


@dataclass(slots=True)
class BatchResult:
    """What a batch's rows are, up to the first fault among them.

    `leaves` and `digests` hold 32 bytes a row: its leaf hash, and the hash of its body.
    `first_versions` says for each stream its first version here and at which position that is.
    What depends on rows before the batch is left to whoever knows them.
    """

    is_empty: bool = True
    first_position: int | None = None
    fault: Fault | None = None
    first: SealedEvent | None = None
    last: SealedEvent | None = None
    leaves: bytearray = field(default_factory=bytearray)
    digests: bytearray = field(default_factory=bytearray)
    first_versions: dict[str, tuple[int, int]] = field(default_factory=dict)
    last_versions: dict[str, int] = field(default_factory=dict)
    redacted: int = 0


def check_batch(packed: bytes, expected: Expected) -> BatchResult:
    """Check the rows of a batch against themselves and against each other."""
    result = BatchResult()
    for row in unpack_rows(packed):
        if result.is_empty:
            result.is_empty, result.first_position = False, row.position
        result.fault = _add_row(result, row, expected)
        if result.fault is not None:
            break
        if expected.with_digests:
            result.digests += sha256(row.body or b"").digest()
    return result


def _add_row(result: BatchResult, row: Row, expected: Expected) -> Fault | None:
    """Take a row into the result, or say what is wrong with it."""
    due = row.position if result.last is None else result.last.position + 1
    misplaced = check_place(row.position, due)
    if misplaced is not None:
        return misplaced
    try:
        event = open_event(row.body or b"")
        _check_columns(row, event)
        _check_head(event, expected)
        if result.last is not None:
            check_follows(event, result.last)
        _take_version(result, event)
    except EventFaultError as error:
        return Fault(row.position, error.reason, error.detail)
    result.first = result.first or event
    result.last = event
    result.leaves += event.leaf
    result.redacted += event.is_redacted
    return None


def check_place(position: int | None, due: int | None) -> Fault | None:
    """Whether a row stands where the next one is due."""
    if position is None or due is None:
        return Fault(due, "position-missing", "a row has no position")
    if position > due:
        return Fault(due, "position-missing", "no event has this position")
    if position == due - 1 and position > 0:
        return Fault(position, "position-repeated", "two events have this position")
    if position < due:
        return Fault(position, "position-unexpected", f"position {due} was due")
    return None


def _take_version(result: BatchResult, event: SealedEvent) -> None:
    last_version = result.last_versions.get(event.stream)
    if last_version is None:
        result.first_versions[event.stream] = (event.stream_version, event.position)
    else:
        check_version(event.stream_version, last_version)
    result.last_versions[event.stream] = event.stream_version


def _check_head(event: SealedEvent, expected: Expected) -> None:
    if event.log != expected.log:
        raise EventFaultError("other-log", f"the event says that it is of the log {event.log}")
    if event.timeline > expected.timeline:
        detail = f"the event is of timeline {event.timeline}, the log of {expected.timeline}"
        raise EventFaultError("timeline-ahead", detail)


def _check_columns(row: Row, event: SealedEvent) -> None:
    told = (
        event.position,
        event.stream_version,
        event.recorded_us,
        event.leaf,
        event.stream.encode(),
        event.type.encode(),
    )
    if row[:6] != told:
        if row.leaf != event.leaf:
            detail = "the event's bytes and the column leaf disagree"
            raise EventFaultError("leaf-mismatch", detail)
        pairs = zip(_COPIES, row, told, strict=False)
        wrong = ", ".join(column for column, held, said in pairs if held != said)
        raise EventFaultError(
            "column-mismatch", f"the event's bytes and the column {wrong} disagree"
        )


def check_follows(event: SealedEvent, last: SealedEvent) -> None:
    """Check an event against the one before it.

    Raises: EventFaultError.
    """
    if event.recorded_us <= last.recorded_us:
        detail = "it was not recorded later than the event before it"
        raise EventFaultError("recorded-time-not-increasing", detail)
    if event.timeline < last.timeline:
        detail = f"timeline {event.timeline} comes behind timeline {last.timeline}"
        raise EventFaultError("timeline-decreasing", detail)


def check_version(version: int, last_version: int) -> None:
    """Check that a stream's version is the one behind its last.

    Raises: EventFaultError.
    """
    if version != last_version + 1:
        detail = f"its stream went from version {last_version} to {version}"
        raise EventFaultError("stream-version-gap", detail)
