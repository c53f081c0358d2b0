"""Owns what each organisation event states, for deciders and read models."""

from typing import assert_never

from shared.contracts.events.organisations import OrganisationRegistered, OrganisationRenamed
from shared.contracts.facts import Facts

OrganisationEvent = OrganisationRegistered | OrganisationRenamed


def organisation_facts(event: OrganisationEvent) -> Facts:
    """The facts that an event states."""
    match event:
        case OrganisationRegistered():
            yield "name", event.name
            yield "kind", event.kind.value
            yield "slug", event.slug
            yield "parent", event.parent
            for alias in event.aliases:
                yield f"alias:{alias}", True
        case OrganisationRenamed():
            yield "name", event.name
        case _:
            assert_never(event)
