"""Owns events and people of a small estate, with as little said as a test needs.

Must not be random.
"""

from datetime import UTC, datetime
from typing import Any

from services.dependencies.dependencies.decider import ends_claim
from shared.auth.principals import Principal, Role
from shared.contracts.events.dependencies import DependencyDeclared
from shared.contracts.events.model import EventData
from shared.contracts.events.organisations import OrganisationKind, OrganisationRegistered
from shared.contracts.events.services import ServiceKind, ServiceRegistered
from shared.eventstore.types import Claim, NewEvent
from tests.support.ids import numbered

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

CABINET = numbered("org_", 1)
TREASURY = numbered("org_", 2)
TEAM = numbered("org_", 3)
OTHER_TEAM = numbered("org_", 4)
LICENCES = numbered("svc_", 1)
PUBLISHING = numbered("svc_", 2)
LINK = numbered("dep_", 1)


def admin() -> Principal:
    """Somebody who may act for all, and belongs to none."""
    return Principal("prn_admin", "crd_admin", frozenset({Role.ADMIN}))


def emitter(organisation: str = CABINET) -> Principal:
    """A system that acts for one organisation."""
    return Principal(
        f"prn_{organisation[-2:]}", "crd_emitter", frozenset({Role.EMITTER}), organisation
    )


def organisation(
    subject: str = CABINET,
    slug: str = "cabinet-office",
    *,
    kind: OrganisationKind = OrganisationKind.DEPARTMENT,
    at: datetime = LONG_AGO,
    **more: Any,
) -> NewEvent:
    """An organisation was registered."""
    data = OrganisationRegistered(name=more.pop("name", slug), kind=kind, slug=slug, **more)
    return NewEvent(subject, data, at, _names("organisation", slug, data.aliases))


def team(subject: str = TEAM, slug: str = "team-one", parent: str = CABINET) -> NewEvent:
    """A team below an organisation was registered."""
    return organisation(subject, slug, kind=OrganisationKind.TEAM, parent=parent)


def service(
    subject: str = LICENCES,
    slug: str = "licence-finder",
    *,
    at: datetime = LONG_AGO,
    **more: Any,
) -> NewEvent:
    """A service of the Cabinet Office was registered."""
    more = {"name": slug, "kind": ServiceKind.COMPONENT, "organisation": CABINET} | more
    data = ServiceRegistered(slug=slug, **more)
    return NewEvent(subject, data, at, _names("service", slug, data.aliases))


def dependency(
    subject: str = LINK,
    *,
    alias: str | None = "docker:licence-finder/publishing",
    at: datetime = LONG_AGO,
    **more: Any,
) -> NewEvent:
    """Licence finder depends on publishing, as the Cabinet Office said."""
    tree = {
        "from": "licence-finder",
        "to": {"service": "publishing"},
        "kind": "uses-api",
        "criticality": None,
        "declarant": CABINET,
        "alias": alias,
    } | more
    data = DependencyDeclared.model_validate(tree)
    named = () if alias is None else (Claim("dependency.alias", alias),)
    ends = ends_claim(data.from_, data.to.model_dump(mode="json"), data.kind)
    return NewEvent(subject, data, at, (*named, ends))


def event(data: EventData, subject: str = LICENCES, at: datetime = LONG_AGO) -> NewEvent:
    """Any other fact."""
    return NewEvent(subject, data, at)


def _names(kind: str, slug: str, aliases: tuple[str, ...]) -> tuple[Claim, ...]:
    return (
        Claim(f"{kind}.slug", slug),
        *(Claim(f"{kind}.alias", alias) for alias in aliases),
    )
