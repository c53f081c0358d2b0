"""Owns what an estate's services are at an instant: its events folded one by one, in plain Python.

Must not use what it is held against: no read model, no projection, no facts.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks.estate_data import Estate, events_of
from shared.contracts.events.model import EventData
from shared.contracts.events.services import (
    Role,
    RoleAssigned,
    ServiceDetailsChanged,
    ServicePhaseChanged,
    ServiceRegistered,
)

ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


class EstateTruth:
    """The slugs of all services, and the histories of some."""

    def __init__(self, estate: Estate, services: Collection[str]) -> None:
        self._estate = estate
        self._histories: dict[str, list[tuple[datetime, dict[str, Any]]]]
        self._histories = {service: [] for service in services}
        for event in events_of(estate):
            if event.subject in self._histories:
                stated = _stated(event.data)
                self._histories[event.subject].append((event.effective_at, stated))

    def service(self, service: str, instant: datetime) -> dict[str, Any]:
        """Id, slug, name, phase, organisation and owning team at an instant."""
        known: dict[str, Any] = {"id": service, "owner": None}
        for effective_at, stated in self._histories[service]:
            if effective_at <= instant:
                known |= stated
        return known

    def slugs(self, organisation: str | None, limit: int) -> list[str]:
        """The first slugs, of all services or of those that an organisation keeps."""
        estate = self._estate
        kept = range(estate.services)
        if organisation is not None:
            ids = [estate.organisation(index) for index in range(estate.organisations)]
            kept = range(ids.index(organisation), estate.services, estate.organisations)
        return [f"service-{index:07d}" for index in kept[:limit]]


def _stated(data: EventData) -> dict[str, Any]:
    match data:
        case ServiceRegistered():
            names = ("slug", "name", "phase", "organisation")
            return {name: getattr(data, name) for name in names}
        case ServicePhaseChanged():
            return {"phase": data.phase}
        case RoleAssigned(role=Role.OWNING_TEAM):
            return {"owner": data.holder}
        case ServiceDetailsChanged(name=str()):
            return {"name": data.name}
        case _:
            return {}
