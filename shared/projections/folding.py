"""Owns turning events into rows, purely: order checked, data validated, handlers called.

Must not do IO, and must not skip what it cannot read.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.contracts.envelope import Event
from shared.contracts.events import (
    UnknownEventVersionError,
    current_type_and_data,
    read_data,
)
from shared.projections.feed import Checkpoint
from shared.projections.projection import Projection, Row

_SLICE_EVENTS: Final = 250
_DETAIL_CHARACTERS: Final = 500


class ProjectionStoppedError(Exception):
    """A projection cannot go on by itself at `position`; `reason` is a stable name.

    Reasons: `gap`, `other-timeline`, `unknown-version`, `invalid-data`, `handler-failed`,
    `write-refused`, and those of FeedStoppedError.
    """

    def __init__(self, reason: str, log: str, position: int, detail: str) -> None:
        super().__init__(f"{reason} at {log}:{position}: {detail}")
        self.reason = reason
        self.log = log
        self.position = position
        self.detail = detail


@dataclass(slots=True)
class Folded:
    """The rows of a batch by table, in order, and how many events were applied or dropped.

    `stopped` is why the fold ended early; the rows before it are whole.
    """

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    events: int = 0
    dropped: int = 0
    last: Event | None = None
    stopped: ProjectionStoppedError | None = None


async def fold(projection: Projection, before: Checkpoint, events: Sequence[Event]) -> Folded:
    """Fold events behind a checkpoint, letting other tasks run every few milliseconds."""
    folded = Folded()
    position, timeline = before.position, before.timeline
    for index, event in enumerate(events):
        if index % _SLICE_EVENTS == 0:
            await asyncio.sleep(0)
        if event.position <= position:
            folded.dropped += 1
            continue
        try:
            _check_order(event, position, timeline)
            _apply(projection, event, folded.rows)
        except ProjectionStoppedError as error:
            folded.stopped = error
            return folded
        position, timeline = event.position, event.timeline
        folded.events += 1
        folded.last = event
    return folded


def _check_order(event: Event, position: int, timeline: int) -> None:
    if event.position > position + 1:
        detail = f"the feed goes on at {event.position}"
        raise ProjectionStoppedError("gap", event.log, position + 1, detail)
    if event.timeline < timeline:
        detail = f"timeline {event.timeline} follows timeline {timeline}"
        raise ProjectionStoppedError("other-timeline", event.log, event.position, detail)


def _apply(projection: Projection, event: Event, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    """Add the event's rows, all or none."""
    for table, values in _rows_of(projection, event):
        rows.setdefault(table, []).append(values)


def _rows_of(projection: Projection, event: Event) -> Sequence[Row]:
    try:
        event_type, _ = current_type_and_data(event)
        handler = projection.handlers.get(event_type, projection.default)
        if handler is None:
            _refuse_unknown_version(projection, event_type)
            return ()
        data = read_data(event) if event_type in projection.handlers else None
    except UnknownEventVersionError as error:
        raise _stopped("unknown-version", event, error) from error
    except Exception as error:
        raise _stopped("invalid-data", event, error) from error
    try:
        return list(handler(event, data))
    except Exception as error:
        raise _stopped("handler-failed", event, error) from error


def _refuse_unknown_version(projection: Projection, event_type: str) -> None:
    fact = event_type.rpartition(".")[0]
    if any(handled.rpartition(".")[0] == fact for handled in projection.handlers):
        raise UnknownEventVersionError(event_type)


def _stopped(reason: str, event: Event, error: Exception) -> ProjectionStoppedError:
    detail = f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]
    return ProjectionStoppedError(reason, event.log, event.position, detail)
