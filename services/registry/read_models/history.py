"""Owns the question how a service came to be so: its stream, event by event.

Must read the log itself, so an answer never lags.
"""

from collections.abc import Callable
from typing import Any, Final

from shared.clock import format_instant
from shared.contracts.envelope import Event
from shared.eventstore.reader import LogReader
from shared.reads.moment import Moment

_AT_ONCE: Final = 200
Wanted = Callable[[Event], bool]


async def stream_events(
    reader: LogReader, stream: str, after: str, limit: int, wanted: Wanted
) -> tuple[list[Event], str | None]:
    """At most `limit` wanted events behind a stream version, in log order, and where to go on.

    `after` is what an earlier call answered, or empty.
    """
    found, version, more = list[Event](), int(after or 0), True
    while more and len(found) <= limit:
        events = await reader.stream(stream, version, _AT_ONCE)
        found += filter(wanted, events)
        more = len(events) == _AT_ONCE
        version = events[-1].stream_version if events else version
    last = str(found[limit - 1].stream_version) if len(found) > limit else None
    return found[:limit], last


def within(moment: Moment, position: int) -> Wanted:
    """Whether an event is within a moment and not behind a position of the log.

    Without `as_of`, what takes effect later is too.
    """
    known = moment.known

    def is_within(event: Event) -> bool:
        return (
            (not moment.is_bounded or event.effective_at <= moment.as_of)
            and (known.recorded_at is None or event.recorded_at <= known.recorded_at)
            and event.position <= min(position, known.positions.get(event.log, position))
        )

    return is_within


def entry(event: Event) -> dict[str, Any]:
    """An event as it is answered."""
    data = None if event.data is None else dict(event.data)
    return {
        "position": str(event.where),
        "version": event.stream_version,
        "type": event.type,
        "effective_from": format_instant(event.effective_at),
        "recorded_at": format_instant(event.recorded_at),
        "actor": event.origin.actor,
        "organisation": event.origin.organisation,
        "credential_id": event.origin.credential_id,
        "door": event.origin.door,
        "key": event.origin.causation_id,
        "correlation_id": event.origin.correlation_id,
        "reason": None if data is None else data.pop("reason", None),
        "redacted": event.data is None,
        "data": data,
    }
