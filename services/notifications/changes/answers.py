"""Owns the shape of a page of changes, with an example.

Must not describe an event otherwise than its published schema does.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from shared.contracts.schemas import envelope
from shared.http.routes import Answer
from shared.http.shapes import LagMs, PositionsText, PositionText, closed

EventBody = Annotated[dict[str, Any], WithJsonSchema(dict(envelope()))]
"""An event in the bytes that the log holds."""


@closed
class Change(TypedDict):
    """An event, and the cursor behind it."""

    cursor: str
    log: Literal["registry", "dependencies"]
    position: PositionText
    event: EventBody


@closed
class Changes(TypedDict):
    """A page of changes, in the order of each log."""

    items: list[Change]
    next: Annotated[str, Field(description="Send it as `after`; it is always there.")]
    positions: PositionsText
    lag_ms: LagMs


_EVENT: Final = {
    "specversion": "1.0",
    "id": "evt_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f",
    "source": "estate/registry",
    "type": "estate.service.role_assigned.v1",
    "subject": "svc_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f",
    "time": "2026-01-31T09:00:00.000000Z",
    "datacontenttype": "application/json",
    "position": "12",
    "timeline": "1",
    "streamversion": "2",
    "recordedtime": "2026-01-31T09:30:00.123456Z",
    "actor": "prn_01890a5d7c3e7b0c9d3f2a1b4c5d6e72",
    "credentialid": "crd_1a2b3c4d",
    "organisation": "org_01890a5d7c3e7b0c9d3f2a1b4c5d6e70",
    "door": "http",
    "correlationid": "01890a5d7c3e7b0c9d3f2a1b4c5d6e73",
    "causationid": "http:prn_01890a5d7c3e7b0c9d3f2a1b4c5d6e72:estate.service.assign_role.v1:1",
    "datahash": "0" * 64,
    "datasalt": "0" * 32,
    "data": {
        "role": "owning-team",
        "holder": "org_01890a5d7c3e7b0c9d3f2a1b4c5d6e71",
        "previous_holder": None,
    },
}
CHANGES: Final = Answer(
    "Changes",
    TypeAdapter(Changes),
    {
        "items": [
            {
                "cursor": "cmVnaXN0cnk6MTIsZGVwZW5kZW5jaWVzOjM",
                "log": "registry",
                "position": "registry:12",
                "event": _EVENT,
            }
        ],
        "next": "cmVnaXN0cnk6MTIsZGVwZW5kZW5jaWVzOjM",
        "positions": "dependencies:3,registry:12",
        "lag_ms": 0,
    },
)
