"""Owns how events of any type become rows of the change feed, with what they touch beside them.

Must not depend on a type being known: what a newer writer adds is passed on like all else. So data
is read by the names that every contract uses, never by a model.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from shared.contracts.envelope import Event
from shared.contracts.events.model import EventData
from shared.contracts.names import is_id
from shared.projections.projection import Projection, Row, Table

REGISTRY: Final = "registry"
DEPENDENCIES: Final = "dependencies"
_HERE: Final = Path(__file__).parent
_ORGANISATION_MEMBERS: Final = (
    "organisation",
    "from_organisation",
    "registrant",
    "declarant",
    "parent",
    "holder",
    "previous_holder",
)
_NAMED_KINDS: Final = frozenset({"service", "organisation"})

_CHANGES: Final = Table(
    "changes",
    (
        "log",
        "position",
        "timeline",
        "type",
        "subject",
        "services",
        "organisations",
        "recorded_at",
        "effective_from",
        "body",
    ),
    key=("log", "position"),
)
_ENDS: Final = Table(
    "ends", ("dependency", "name", "log", "position"), key=("log", "position", "name")
)
_NAMES: Final = Table(
    "names", ("category", "name", "subject", "log", "position"), key=("log", "position", "name")
)


def _on_any(event: Event, _data: EventData | None) -> Iterator[Row]:
    kind = _kind(event)
    data: Mapping[str, Any] = event.data if isinstance(event.data, Mapping) else {}
    place = (event.log, event.position)
    ends = sorted(_ends(data)) if kind == "dependency" else []
    touched = [event.subject, *_texts(data.get("successor"))] if kind == "service" else ends
    yield Row(
        _CHANGES.name,
        (
            *place,
            event.timeline,
            event.type,
            event.subject,
            sorted(set(touched)),
            sorted(_organisations(event, data)),
            event.recorded_at,
            event.effective_at,
            event.body,
        ),
    )
    for name in ends:
        yield Row(_ENDS.name, (event.subject, name, *place))
    for name in sorted(_names(data)) if kind in _NAMED_KINDS else ():
        yield Row(_NAMES.name, (kind, name, event.subject, *place))


def _kind(event: Event) -> str:
    """The second part of the type, empty where there is none."""
    parts = event.type.split(".", 2)
    return parts[1] if len(parts) > 1 else ""


def _ends(data: Mapping[str, Any]) -> set[str]:
    to = data.get("to")
    return {*_texts(data.get("from")), *_texts(to.get("service") if isinstance(to, dict) else None)}


def _organisations(event: Event, data: Mapping[str, Any]) -> set[str]:
    named = [event.subject, event.origin.organisation]
    named += [data.get(member) for member in _ORGANISATION_MEMBERS]
    return {text for value in named for text in _texts(value) if is_id(text, "org")}


def _names(data: Mapping[str, Any]) -> set[str]:
    aliases = data.get("aliases")
    listed = aliases if isinstance(aliases, list) else ()
    named = (data.get("slug"), data.get("alias"), *listed)
    return {text for value in named for text in _texts(value)}


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ()


CHANGES: Final = Projection(
    name="changes",
    version=1,
    logs=(REGISTRY, DEPENDENCIES),
    handlers={},
    default=_on_any,
    tables=(_CHANGES, _ENDS, _NAMES),
    ddl=(_HERE / "changes.sql",),
    indexes=(_HERE / "changes_indexes.sql",),
)
"""Every event of both logs, in the bytes that the log holds."""
