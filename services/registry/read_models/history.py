"""Owns the question how a service came to be so: its stream, event by event.

Must read the log itself, so an answer never lags.
"""

from typing import Any

from shared.clock import format_instant
from shared.contracts.envelope import Event
from shared.eventstore.reader import LogReader
from shared.reads.moment import Moment


async def stream_history(
    reader: LogReader, stream: str, after_version: int, limit: int, moment: Moment
) -> tuple[list[dict[str, Any]], int | None]:
    """At most `limit` entries behind a stream version, in log order, and the version to go on from.

    Events effective after the moment, or recorded after what was known, are left out.
    """
    events, last = await stream_events(reader, stream, after_version, limit, moment)
    return [_entry(event) for event in events], last


async def stream_events(
    reader: LogReader, stream: str, after_version: int, limit: int, moment: Moment
) -> tuple[list[Event], int | None]:
    """The events of the same entries."""
    events = await reader.stream(stream, after_version, limit)
    within = [event for event in events if _within(event, moment)]
    return within, events[-1].stream_version if len(events) == limit else None


def _within(event: Event, moment: Moment) -> bool:
    known = moment.known
    return (
        (moment.is_present or event.effective_at <= moment.as_of)
        and (known.recorded_at is None or event.recorded_at <= known.recorded_at)
        and event.position <= known.positions.get(event.log, event.position)
    )


def _entry(event: Event) -> dict[str, Any]:
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
