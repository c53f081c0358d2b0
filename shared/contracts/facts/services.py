"""Owns what each service event states, attribute by attribute, for deciders and read models."""

from collections.abc import Iterator
from typing import Any, assert_never

from shared.contracts.events.services import (
    Phase,
    RoleAssigned,
    RoleVacated,
    ServiceAliasAdded,
    ServiceDelisted,
    ServiceDetailsChanged,
    ServiceMoved,
    ServicePhaseChanged,
    ServiceRegistered,
    ServiceReinstated,
    ServiceRetired,
    ServiceVisibilitySet,
    SourceAttributes,
)
from shared.contracts.facts import Facts

ServiceEvent = (
    ServiceRegistered
    | ServiceDetailsChanged
    | ServiceMoved
    | ServicePhaseChanged
    | ServiceDelisted
    | ServiceReinstated
    | ServiceRetired
    | ServiceAliasAdded
    | ServiceVisibilitySet
    | RoleAssigned
    | RoleVacated
)


def service_facts(event: ServiceEvent) -> Facts:  # noqa: C901 - one case for each event.
    """The facts that an event states."""
    match event:
        case ServiceRegistered():
            yield from _registered(event)
        case ServiceDetailsChanged():
            yield from _changed(event)
        case ServiceMoved():
            yield "organisation", event.organisation
        case ServicePhaseChanged():
            yield "phase", event.phase and event.phase.value
        case ServiceDelisted():
            yield "listed", False
        case ServiceReinstated():
            yield "listed", True
        case ServiceRetired():
            yield "phase", Phase.RETIRED.value
            yield "successor", event.successor
        case ServiceAliasAdded():
            yield f"alias:{event.alias}", True
        case ServiceVisibilitySet():
            yield "visibility", event.visibility.value
        case RoleAssigned():
            yield f"role:{event.role.value}", event.holder
        case RoleVacated():
            yield f"role:{event.role.value}", None
        case _:
            assert_never(event)


def _registered(event: ServiceRegistered) -> Iterator[tuple[str, Any]]:
    yield "name", event.name
    yield "kind", event.kind.value
    yield "slug", event.slug
    yield "listed", True
    yield "organisation", event.organisation
    yield "registrant", event.registrant
    yield "phase", event.phase and event.phase.value
    yield "visibility", event.visibility.value
    if event.description is not None:
        yield "description", event.description
    for alias in event.aliases:
        yield f"alias:{alias}", True
    if event.attributes is not None:
        yield from _attributes(event.attributes)


def _changed(event: ServiceDetailsChanged) -> Iterator[tuple[str, Any]]:
    if event.name is not None:
        yield "name", event.name
    if event.kind is not None:
        yield "kind", event.kind.value
    if "description" in event.model_fields_set:
        yield "description", event.description
    if event.attributes is not None:
        yield from _attributes(event.attributes)


def _attributes(attributes: SourceAttributes) -> Iterator[tuple[str, Any]]:
    for name, value in attributes.set.items():
        yield f"source:{attributes.source}:{name}", value
    for name in attributes.unset:
        yield f"source:{attributes.source}:{name}", None
