"""Owns how the registry's events become rows. What they mean is said once, in each kind's facts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from shared.contracts.envelope import Event
from shared.contracts.events import organisations, services
from shared.contracts.events.model import EventData
from shared.contracts.events.organisations import OrganisationRegistered
from shared.contracts.events.services import ServiceAliasAdded, ServiceRegistered
from shared.contracts.facts.organisations import OrganisationEvent, organisation_facts
from shared.contracts.facts.services import ServiceEvent, service_facts
from shared.projections.facts import state_facts
from shared.projections.projection import CurrentTable, Projection, Row, Table

LOG: Final = "registry"
_HERE: Final = Path(__file__).parent

_SERVICES: Final = """
SELECT r.*
FROM current_facts($1, $2) AS f CROSS JOIN LATERAL service_row(f.subject, f.state) AS r
WHERE f.subject LIKE 'svc\\_%' AND f.state ? 'name'
"""
_ORGANISATIONS: Final = """
SELECT f.subject, f.state ->> 'slug', f.state ->> 'name', f.state ->> 'kind', f.state ->> 'parent'
FROM current_facts($1, $2) AS f
WHERE f.subject LIKE 'org\\_%' AND f.state ? 'name'
"""
_NAMES: Final = Table(
    "names",
    ("category", "form", "name", "subject", "log", "position", "recorded_at"),
    key=("category", "form", "name"),
)


def _names(event: Event, slug: str | None, aliases: tuple[str, ...]) -> Iterator[Row]:
    category = event.type.split(".", 2)[1]
    named = [("slug", slug)] if slug is not None else []
    named += [("alias", alias) for alias in aliases]
    for form, name in named:
        place = (event.log, event.position, event.recorded_at)
        yield Row(_NAMES.name, (category, form, name, event.subject, *place))


def _on_service(event: Event, data: EventData | None) -> Iterator[Row]:
    if data is None:
        return
    facts = dict(service_facts(cast("ServiceEvent", data)))
    yield from state_facts(event, data, event.subject, facts)
    match data:
        case ServiceRegistered():
            yield from _names(event, data.slug, data.aliases)
        case ServiceAliasAdded():
            yield from _names(event, None, (data.alias,))


def _on_organisation(event: Event, data: EventData | None) -> Iterator[Row]:
    if data is None:
        return
    facts = dict(organisation_facts(cast("OrganisationEvent", data)))
    yield from state_facts(event, data, event.subject, facts)
    if isinstance(data, OrganisationRegistered):
        yield from _names(event, data.slug, data.aliases)


ESTATE: Final = Projection(
    name="estate",
    version=1,
    logs=(LOG,),
    handlers={
        **{model.TYPE: _on_service for model in services.EVENTS},
        **{model.TYPE: _on_organisation for model in organisations.EVENTS},
    },
    tables=(_NAMES,),
    currents=(
        CurrentTable(
            "services",
            (
                "subject",
                "slug",
                "name",
                "kind",
                "organisation",
                "phase",
                "listed",
                "visibility",
                "owner",
                "holders",
            ),
            _SERVICES,
        ),
        CurrentTable(
            "organisations", ("subject", "slug", "name", "kind", "parent"), _ORGANISATIONS
        ),
    ),
    ddl=(_HERE / "estate.sql",),
    indexes=(_HERE / "estate_indexes.sql",),
    facts=True,
)
"""Organisations, services and who holds which role, in effective and recorded time."""
