"""Owns the shapes of the dependencies service's answers, with an example of each.

Must say what is answered, member by member; it makes no answer.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from shared.contracts.events.dependencies import Criticality, DependencyKind
from shared.http.routes import Answer
from shared.http.shapes import (
    Count,
    DependencyId,
    LagMs,
    NextCursor,
    PositionsText,
    ServiceId,
    closed,
)

Form = Literal["service", "unresolved", "infrastructure", "supplier", "other"]


@closed
class End(TypedDict):
    """A service; a name that no registered service answers to; or something external."""

    form: Form
    service: ServiceId | None
    name: str


@closed
class NeededEnd(End):
    """An end, and how many others depend on it."""

    dependents: Count


@closed
class Dependency(TypedDict):
    """What depends on what."""

    id: DependencyId
    from_: Annotated[End, Field(alias="from")]
    to: End
    kind: DependencyKind
    criticality: Criticality | None


@closed
class OneDependency(Dependency):
    """A dependency; about the present, and with a key, with the version for If-Match."""

    version: NotRequired[Count]
    positions: PositionsText
    lag_ms: LagMs


@closed
class Dependencies(TypedDict):
    """A page of dependencies, in the order of their ids."""

    items: list[Dependency]
    next: NextCursor
    positions: PositionsText
    lag_ms: LagMs


@closed
class Reached(TypedDict):
    """An end, the fewest steps to it, and the dependency by which it was reached first."""

    depth: Annotated[int, Field(ge=1)]
    end: End
    through: Dependency


@closed
class Reach(TypedDict):
    """What a walk reached, nearest first; truncated where there is more."""

    start: End
    items: list[Reached]
    truncated: bool
    positions: PositionsText
    lag_ms: LagMs


@closed
class Summary(TypedDict):
    """How the map stands."""

    dependencies: Count
    dependencies_on: dict[Form, Count]
    ends: dict[Form, Count]
    resolved_ends: Count
    unresolved_ends: Count
    most_depended_upon: dict[Form, list[NeededEnd]]
    positions: PositionsText
    lag_ms: LagMs


@closed
class UnresolvedName(TypedDict):
    """A name that no registered service answers to, and which dependencies use it."""

    name: str
    dependencies: list[DependencyId]


@closed
class Unresolved(TypedDict):
    """How many names there are, and a page of them."""

    count: Count
    items: list[UnresolvedName]
    next: NextCursor
    positions: PositionsText
    lag_ms: LagMs


_REFLECTED: Final = {"positions": "dependencies:45,registry:123", "lag_ms": 0}
_CURSOR: Final = "c2lnbmVkLCBhbmQgb3BhcXVl"
_FROM: Final = {
    "form": "service",
    "service": "svc_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f",
    "name": "Whitehall",
}
_TO: Final = {
    "form": "service",
    "service": "svc_01890a5d7c3e7b0c9d3f2a1b4c5d6e80",
    "name": "Publishing API",
}
_DEPENDENCY: Final[dict[str, Any]] = {
    "id": "dep_01890a5d7c3e7b0c9d3f2a1b4c5d6e81",
    "from": _FROM,
    "to": _TO,
    "kind": "uses-api",
    "criticality": "high",
}

ONE_DEPENDENCY: Final = Answer(
    "The dependency", TypeAdapter(OneDependency), _DEPENDENCY | {"version": 2} | _REFLECTED
)
DEPENDENCIES: Final = Answer(
    "Dependencies",
    TypeAdapter(Dependencies),
    {"items": [_DEPENDENCY], "next": _CURSOR, **_REFLECTED},
)
REACH: Final = Answer(
    "What was reached",
    TypeAdapter(Reach),
    {
        "start": _FROM,
        "items": [{"depth": 1, "end": _TO, "through": _DEPENDENCY}],
        "truncated": False,
        **_REFLECTED,
    },
)
SUMMARY: Final = Answer(
    "How it stands",
    TypeAdapter(Summary),
    {
        "dependencies": 1,
        "dependencies_on": {"service": 1},
        "ends": {"service": 2},
        "resolved_ends": 2,
        "unresolved_ends": 0,
        "most_depended_upon": {"service": [_TO | {"dependents": 1}]},
        **_REFLECTED,
    },
)
UNRESOLVED: Final = Answer(
    "Names",
    TypeAdapter(Unresolved),
    {
        "count": 1,
        "items": [{"name": "govuk-docker:nginx-proxy", "dependencies": [_DEPENDENCY["id"]]}],
        "next": None,
        **_REFLECTED,
    },
)
