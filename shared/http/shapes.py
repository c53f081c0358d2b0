"""Owns what the shapes of answers are made of: closed objects, ids, instants, positions.

Must not be used to read or write anything: shapes describe, and tests hold answers to them.
"""

from typing import Annotated, Final

from pydantic import ConfigDict, Field, with_config

closed: Final = with_config(ConfigDict(extra="forbid"))
"""Of a TypedDict: an answer has no member that its shape does not name."""

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
PositionText = Annotated[str, Field(pattern=r"^[a-z]+(@[1-9][0-9]*)?:[0-9]+$")]
PositionsText = Annotated[
    str, Field(description="How far each log was read, such as `dependencies:45,registry:123`.")
]
Count = Annotated[int, Field(ge=0)]
LagMs = Annotated[
    int, Field(ge=0, description="0 when every log was read to its known end, else how far behind.")
]
NextCursor = Annotated[
    str | None, Field(description="Send it as `cursor` for the next page; null: there is none.")
]
ServiceId = Annotated[str, Field(pattern="^svc_[0-9a-f]{32}$")]
OrganisationId = Annotated[str, Field(pattern="^org_[0-9a-f]{32}$")]
DependencyId = Annotated[str, Field(pattern="^dep_[0-9a-f]{32}$")]
HolderId = Annotated[str, Field(pattern="^(org_[0-9a-f]{32}|contact:[a-z0-9-]{1,64})$")]
