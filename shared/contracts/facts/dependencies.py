"""Owns what each dependency event states, attribute by attribute, for deciders and read models."""

from typing import assert_never

from shared.contracts.events.dependencies import (
    DependencyChanged,
    DependencyDeclared,
    DependencyWithdrawn,
    ExternalEnd,
    ServiceEnd,
)
from shared.contracts.facts import Facts

DependencyEvent = DependencyDeclared | DependencyChanged | DependencyWithdrawn


def dependency_facts(event: DependencyEvent) -> Facts:
    """The facts that an event states."""
    match event:
        case DependencyDeclared():
            yield "declared", True
            yield "from", event.from_
            yield "to", end_json(event.to)
            yield "kind", event.kind.value
            yield "criticality", event.criticality and event.criticality.value
            yield "declarant", event.declarant
            yield "alias", event.alias
        case DependencyChanged():
            if event.kind is not None:
                yield "kind", event.kind.value
            if "criticality" in event.model_fields_set:
                yield "criticality", event.criticality and event.criticality.value
        case DependencyWithdrawn():
            yield "declared", False
        case _:
            assert_never(event)


def end_json(end: ServiceEnd | ExternalEnd) -> dict[str, str]:
    """An end as it is stored and answered."""
    return end.model_dump(mode="json")
