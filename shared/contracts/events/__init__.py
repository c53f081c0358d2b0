"""The published data of every event, by type, and the table that names them.

A type is an explicit string that never changes; a new optional field keeps its version.
"""

from typing import Any, Final

from shared.contracts.envelope import Event
from shared.contracts.events import dependencies, organisations, services
from shared.contracts.events.model import EventData
from shared.contracts.events.upcasters import upcast

EVENT_MODELS: Final[dict[str, type[EventData]]] = {
    model.TYPE: model for model in (*organisations.EVENTS, *services.EVENTS, *dependencies.EVENTS)
}


class UnknownEventVersionError(ValueError):
    """A known fact in a version that this code cannot read; its reader must stop, never skip."""


def current_type_and_data(event: Event) -> tuple[str, Any]:
    """The event's type and data in today's version; data is None once it was redacted."""
    return upcast(event.type, event.data)


def read_data(event: Event) -> EventData | None:
    """Validate the event's data in today's version; None when redacted or of a type unknown here.

    Raises: UnknownEventVersionError for an unknown version of a known fact; ValueError
    (pydantic) when the data does not fit its model.
    """
    event_type, data = current_type_and_data(event)
    model = EVENT_MODELS.get(event_type)
    if model is None:
        refuse_unknown_version(event_type)
        return None
    return None if data is None else model.model_validate(data)


def refuse_unknown_version(event_type: str) -> None:
    """Raise UnknownEventVersionError when the fact is known but this version of it is not."""
    fact = event_type.rpartition(".")[0]
    if event_type not in EVENT_MODELS and fact in _KNOWN_FACTS:
        raise UnknownEventVersionError(event_type)


_KNOWN_FACTS: Final = {event_type.rpartition(".")[0] for event_type in EVENT_MODELS}
