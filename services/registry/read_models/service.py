"""Owns the question what a service is, now or at any moment."""

from collections.abc import Mapping
from typing import Any, Final

from services.registry.read_models.references import facts_and_names
from shared.clock import format_instant
from shared.projections.facts import Held
from shared.projections.projection import Connection
from shared.reads.moment import Moment

_LOG: Final = "registry"
_PLAIN: Final = ("slug", "name", "kind", "description", "phase", "listed", "visibility")


async def services_at(
    connection: Connection, subjects: list[str], moment: Moment
) -> list[dict[str, Any]]:
    """The documents of these services at a moment, in order; those unknown then are left out."""
    states, names = await facts_and_names(connection, subjects, moment)
    known = [(s, states[s]) for s in subjects if "name" in states.get(s, {})]
    return [service_document(subject, state, names) for subject, state in known]


def service_document(
    subject: str, state: Mapping[str, Held], names: Mapping[str, str]
) -> dict[str, Any]:
    """One service as people and programs read it; `names` are of organisations, by id."""
    document: dict[str, Any] = {"id": subject}
    document |= {name: state[name].value if name in state else None for name in _PLAIN}
    document["organisation"] = _party(state.get("organisation"), names)
    document["roles"] = {
        attribute.removeprefix("role:"): _party(held, names)
        for attribute, held in sorted(state.items())
        if attribute.startswith("role:") and held.value is not None
    }
    document["successor"] = state["successor"].value if "successor" in state else None
    document["aliases"] = sorted(
        attribute.removeprefix("alias:") for attribute in state if attribute.startswith("alias:")
    )
    document["attributes"] = _attributes(state)
    document["effective_from"] = format_instant(max(h.effective_from for h in state.values()))
    document["position"] = f"{_LOG}:{max(held.position for held in state.values())}"
    return document


def _party(held: Held | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    if held is None or held.value is None:
        return None
    since = format_instant(held.effective_from)
    return {"id": held.value, "name": names.get(held.value), "since": since}


def _attributes(state: Mapping[str, Held]) -> dict[str, dict[str, Any]]:
    sources: dict[str, dict[str, Any]] = {}
    for attribute, held in sorted(state.items()):
        if attribute.startswith("source:") and held.value is not None:
            _, source, name = attribute.split(":", 2)
            sources.setdefault(source, {})[name] = held.value
    return sources
