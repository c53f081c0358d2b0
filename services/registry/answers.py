"""Owns the shapes of the registry's answers, with an example of each.

Must say what is answered, member by member; it makes no answer.
"""

from typing import Any, Final, Literal, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from shared.contracts.events.organisations import OrganisationKind
from shared.contracts.events.services import Phase, Role, ServiceKind, Visibility
from shared.http.routes import Answer
from shared.http.shapes import (
    Count,
    HolderId,
    Instant,
    LagMs,
    NextCursor,
    OrganisationId,
    PositionsText,
    PositionText,
    ServiceId,
    closed,
)


@closed
class Party(TypedDict):
    """Who keeps a service or holds a role, since when; a contact has no name."""

    id: HolderId
    name: str | None
    since: Instant


@closed
class Service(TypedDict):
    """A service; without a key, roles held by contacts are left out."""

    id: ServiceId
    slug: str
    name: str
    kind: ServiceKind
    description: str | None
    phase: Phase | None
    listed: bool
    visibility: Visibility
    organisation: Party | None
    roles: dict[Role, Party]
    successor: ServiceId | None
    aliases: list[str]
    attributes: dict[str, dict[str, Any]]
    effective_from: Instant
    position: PositionText


@closed
class OneService(Service):
    """A service; about the present, and with a key, with the version for If-Match."""

    version: NotRequired[Count]
    positions: PositionsText
    lag_ms: LagMs


@closed
class Services(TypedDict):
    """A page of services, in the order of their slugs."""

    items: list[Service]
    next: NextCursor
    positions: PositionsText
    lag_ms: LagMs


@closed
class HistoryEntry(TypedDict):
    """An event of a service; without a key, it is not told by whom, why and how."""

    position: PositionText
    version: Count
    type: str
    effective_from: Instant
    recorded_at: Instant
    actor: NotRequired[str]
    organisation: NotRequired[OrganisationId | None]
    credential_id: NotRequired[str]
    door: NotRequired[Literal["http", "kafka", "policy"]]
    key: NotRequired[str]
    correlation_id: NotRequired[str]
    reason: NotRequired[str | None]
    redacted: bool
    data: dict[str, Any] | None


@closed
class History(TypedDict):
    """A page of a service's events, in the order of recording."""

    items: list[HistoryEntry]
    next: NextCursor
    positions: PositionsText
    lag_ms: LagMs


@closed
class Above(TypedDict):
    """The organisation above another."""

    id: OrganisationId
    name: str | None


@closed
class Organisation(TypedDict):
    """An organisation or a team."""

    id: OrganisationId
    slug: str
    name: str
    kind: OrganisationKind
    parent: Above | None
    aliases: list[str]
    effective_from: Instant
    position: PositionText


@closed
class OneOrganisation(Organisation):
    """An organisation; about the present with the version for If-Match."""

    version: NotRequired[Count]
    positions: PositionsText
    lag_ms: LagMs


@closed
class Organisations(TypedDict):
    """A page of organisations, in the order of their slugs."""

    items: list[Organisation]
    next: NextCursor
    positions: PositionsText
    lag_ms: LagMs


@closed
class Share(TypedDict):
    """How many services somebody keeps or owns."""

    id: HolderId
    name: str | None
    services: Count


@closed
class ServiceCounts(TypedDict):
    """How many services there are; the last four count listed ones alone."""

    known: Count
    listed: Count
    delisted: Count
    no_owner: Count
    no_organisation: Count
    phase_unknown: Count
    owners: Count


@closed
class Summary(TypedDict):
    """How the estate stands."""

    services: ServiceCounts
    phases: dict[Phase | Literal["unknown"], Count]
    organisations: list[Share]
    positions: PositionsText
    lag_ms: LagMs


@closed
class Owners(TypedDict):
    """Who owns most listed services, most first."""

    items: list[Share]
    positions: PositionsText
    lag_ms: LagMs


@closed
class NamedService(TypedDict):
    """A service by its names."""

    id: ServiceId
    slug: str
    name: str


@closed
class Gap(TypedDict):
    """How many listed services lack something, and the first of them by slug."""

    count: Count
    first: list[NamedService]


@closed
class Gaps(TypedDict):
    """What is missing in the map; `/v1/unresolved` of the dependencies service has the rest."""

    no_owner: Gap
    no_organisation: Gap
    never_confirmed: Gap
    positions: PositionsText
    lag_ms: LagMs


_REFLECTED: Final = {"positions": "registry:123", "lag_ms": 0}
_CURSOR: Final = "c2lnbmVkLCBhbmQgb3BhcXVl"
_DEPARTMENT: Final = "org_01890a5d7c3e7b0c9d3f2a1b4c5d6e70"
_TEAM: Final = "org_01890a5d7c3e7b0c9d3f2a1b4c5d6e71"
_SERVICE: Final = {
    "id": "svc_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f",
    "slug": "whitehall",
    "name": "Whitehall",
    "kind": "component",
    "description": "Publishes government content",
    "phase": "live",
    "listed": True,
    "visibility": "internal",
    "organisation": {
        "id": _DEPARTMENT,
        "name": "Government Digital Service",
        "since": "2016-03-01T00:00:00Z",
    },
    "roles": {
        "owning-team": {"id": _TEAM, "name": "Publishing", "since": "2024-05-01T00:00:00Z"},
        "technical-lead": {"id": "contact:c-204", "name": None, "since": "2024-05-01T00:00:00Z"},
    },
    "successor": None,
    "aliases": ["govuk-repos:whitehall"],
    "attributes": {"govuk-repos": {"production_hosted_on": "eks"}},
    "effective_from": "2024-05-01T00:00:00Z",
    "position": "registry:57",
}
_ENTRY: Final = {
    "position": "registry:57",
    "version": 8,
    "type": "estate.service.phase_changed.v1",
    "effective_from": "2026-01-31T09:00:00Z",
    "recorded_at": "2026-01-31T09:30:00.123456Z",
    "actor": "prn_01890a5d7c3e7b0c9d3f2a1b4c5d6e72",
    "organisation": _DEPARTMENT,
    "credential_id": "crd_1a2b3c4d",
    "door": "http",
    "key": "http:prn_01890a5d7c3e7b0c9d3f2a1b4c5d6e72:estate.service.change_phase.v1:1",
    "correlation_id": "01890a5d7c3e7b0c9d3f2a1b4c5d6e73",
    "reason": "passed its assessment",
    "redacted": False,
    "data": {"phase": "live"},
}
_ORGANISATION: Final = {
    "id": _TEAM,
    "slug": "publishing",
    "name": "Publishing",
    "kind": "team",
    "parent": {"id": _DEPARTMENT, "name": "Government Digital Service"},
    "aliases": ["govuk-teams:#govuk-publishing"],
    "effective_from": "2016-03-01T00:00:00Z",
    "position": "registry:12",
}
_COUNTS: Final = {
    "known": 3,
    "listed": 2,
    "delisted": 1,
    "no_owner": 1,
    "no_organisation": 0,
    "phase_unknown": 0,
    "owners": 1,
}
_MISSING: Final = {
    "count": 1,
    "first": [{"id": _SERVICE["id"], "slug": "whitehall", "name": "Whitehall"}],
}
_NOTHING: Final = {"count": 0, "first": []}
_OWNER: Final = {"id": _TEAM, "name": "Publishing", "services": 1}
_KEEPER: Final = {"id": _DEPARTMENT, "name": "Government Digital Service", "services": 2}

ONE_SERVICE: Final = Answer(
    "The service", TypeAdapter(OneService), _SERVICE | {"version": 8} | _REFLECTED
)
SERVICES: Final = Answer(
    "Services", TypeAdapter(Services), {"items": [_SERVICE], "next": _CURSOR, **_REFLECTED}
)
HISTORY: Final = Answer(
    "Events", TypeAdapter(History), {"items": [_ENTRY], "next": None, **_REFLECTED}
)
ONE_ORGANISATION: Final = Answer(
    "The organisation", TypeAdapter(OneOrganisation), _ORGANISATION | {"version": 1} | _REFLECTED
)
ORGANISATIONS: Final = Answer(
    "Organisations",
    TypeAdapter(Organisations),
    {"items": [_ORGANISATION], "next": None, **_REFLECTED},
)
SUMMARY: Final = Answer(
    "How it stands",
    TypeAdapter(Summary),
    {"services": _COUNTS, "phases": {"live": 2}, "organisations": [_KEEPER], **_REFLECTED},
)
OWNERS: Final = Answer("Owners", TypeAdapter(Owners), {"items": [_OWNER], **_REFLECTED})
GAPS: Final = Answer(
    "Gaps",
    TypeAdapter(Gaps),
    {
        "no_owner": _MISSING,
        "no_organisation": _NOTHING,
        "never_confirmed": _MISSING,
        **_REFLECTED,
    },
)
