"""Owns how the events of two logs become rows: dependencies, and the services that are their ends.

A function of how far each log was read, never of how the two interleaved: ends are resolved when
asked about, so it does not matter which log was first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from shared.contracts.envelope import Event
from shared.contracts.events import dependencies, organisations, services
from shared.contracts.events.dependencies import DependencyDeclared, ExternalEnd
from shared.contracts.events.model import EventData
from shared.contracts.events.organisations import OrganisationRegistered
from shared.contracts.events.services import ServiceAliasAdded, ServiceRegistered
from shared.contracts.facts.dependencies import DependencyEvent, dependency_facts
from shared.contracts.facts.organisations import OrganisationEvent, organisation_facts
from shared.contracts.facts.services import ServiceEvent, service_facts
from shared.projections.facts import state_facts
from shared.projections.projection import CurrentTable, Projection, Row, Table

LOG: Final = "dependencies"
REGISTRY: Final = "registry"
_HERE: Final = Path(__file__).parent
_KEPT: Final = frozenset(
    {
        *("name", "slug", "kind", "organisation", "registrant", "phase", "listed", "visibility"),
        "role:owning-team",
    }
)

_EDGES: Final = """
SELECT (edge_row(f.subject, f.state)).*
FROM current_facts($1, $2) AS f
WHERE f.subject LIKE 'dep\\_%' AND (f.state ->> 'declared')::boolean
"""
_NAMES: Final = Table(
    "names",
    ("name", "category", "subject", "effective_from", "log", "position", "recorded_at"),
    key=("category", "name"),
)
_ENDS: Final = Table(
    "ends",
    ("dependency", "from_name", "to_name", "external", "external_kind", "log", "position"),
    key=("log", "position"),
)


def _names(event: Event, *names: str) -> Iterator[Row]:
    category = event.type.split(".", 2)[1]
    for name in names:
        place = (event.effective_at, event.log, event.position, event.recorded_at)
        yield Row(_NAMES.name, (name, category, event.subject, *place))


def _on_service(event: Event, data: EventData | None) -> Iterator[Row]:
    if data is None:
        return
    facts = dict(service_facts(cast("ServiceEvent", data)))
    kept = {name: value for name, value in facts.items() if name in _KEPT}
    yield from state_facts(event, data, event.subject, kept)
    match data:
        case ServiceRegistered():
            yield from _names(event, event.subject, data.slug, *data.aliases)
        case ServiceAliasAdded():
            yield from _names(event, data.alias)


def _on_organisation(event: Event, data: EventData | None) -> Iterator[Row]:
    if data is None:
        return
    facts = dict(organisation_facts(cast("OrganisationEvent", data)))
    kept = {name: value for name, value in facts.items() if name in {"name", "kind", "parent"}}
    yield from state_facts(event, data, event.subject, kept)
    if isinstance(data, OrganisationRegistered):
        yield from _names(event, event.subject, data.slug, *data.aliases)


def _on_dependency(event: Event, data: EventData | None) -> Iterator[Row]:
    if data is None:
        return
    facts = dict(dependency_facts(cast("DependencyEvent", data)))
    yield from state_facts(event, data, event.subject, facts)
    if isinstance(data, DependencyDeclared):
        to = data.to
        ends = (
            (None, to.external, to.kind.value)
            if isinstance(to, ExternalEnd)
            else (to.service, None, None)
        )
        yield Row(_ENDS.name, (event.subject, data.from_, *ends, event.log, event.position))


GRAPH: Final = Projection(
    name="graph",
    version=2,
    logs=(LOG, REGISTRY),
    handlers={
        **{model.TYPE: _on_dependency for model in dependencies.EVENTS},
        **{model.TYPE: _on_service for model in services.EVENTS},
        **{model.TYPE: _on_organisation for model in organisations.EVENTS},
    },
    tables=(_NAMES, _ENDS),
    currents=(
        CurrentTable(
            "edges",
            (
                "subject",
                "from_name",
                "to_name",
                "external",
                "external_kind",
                "kind",
                "criticality",
            ),
            _EDGES,
        ),
    ),
    ddl=(_HERE / "graph.sql",),
    indexes=(_HERE / "graph_indexes.sql",),
    facts=True,
)
"""What depends on what, and the services at either end, in effective and recorded time."""
