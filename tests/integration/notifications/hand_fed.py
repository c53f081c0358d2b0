"""Two logs fed to the change feed by hand, event by event, and what each event touches."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.notifications.read_models.projection import CHANGES
from shared.clock import format_instant
from shared.contracts.envelope import Event, leaf_of, parse_event, seal
from shared.contracts.names import Position
from shared.projections.feed import Checkpoint, FeedBatch
from shared.projections.read_models import ReadModels
from shared.projections.writer import GenerationWriter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVICES = tuple(f"svc_{number:032x}" for number in range(6))
ORGANISATIONS = tuple(f"org_{number:032x}" for number in range(4))
DEPENDENCIES = tuple(f"dep_{number:032x}" for number in range(5))


@dataclass(frozen=True, slots=True)
class Recorded:
    event: Event
    services: frozenset[str]
    organisations: frozenset[str]

    @property
    def place(self) -> tuple[str, int]:
        return self.event.log, self.event.position


@dataclass(slots=True)
class HandFed:
    """Logs that grow by `record` and are read into the projection by `apply`."""

    models: ReadModels
    writer: GenerationWriter
    logs: dict[str, list[Recorded]] = field(
        default_factory=lambda: {log: [] for log in CHANGES.logs}
    )
    applied: dict[str, Checkpoint] = field(
        default_factory=lambda: {log: Checkpoint(log) for log in CHANGES.logs}
    )
    timeline: int = 1
    recorded_at: datetime = NOW

    def record(
        self,
        log: str,
        event_type: str,
        subject: str,
        data: Mapping[str, Any],
        *,
        organisation: str | None = None,
        services: Collection[str] = (),
        organisations: Collection[str] = (),
    ) -> Recorded:
        position = len(self.logs[log]) + 1
        self.recorded_at += timedelta(microseconds=7)
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"evt_{log}_{position}",
            "source": f"estate/{log}",
            "type": event_type,
            "subject": subject,
            "time": format_instant(NOW),
            "position": str(position),
            "timeline": str(self.timeline),
            "streamversion": "1",
            "recordedtime": format_instant(self.recorded_at),
            "actor": "prn_test",
            "credentialid": "crd_test",
            "door": "http",
            "correlationid": "correlation",
            "causationid": "causation",
        }
        if organisation is not None:
            attributes["organisation"] = organisation
        body, _leaf = seal(attributes, dict(data), b"0123456789abcdef")
        touched = {*organisations, *([organisation] if organisation else [])}
        recorded = Recorded(parse_event(body), frozenset(services), frozenset(touched))
        self.logs[log].append(recorded)
        return recorded

    def backlog(self, log: str) -> int:
        return len(self.logs[log]) - self.applied[log].position

    async def apply(self, log: str, count: int | None = None) -> None:
        """Let the projection read the next events of a log, all by default."""
        before = self.applied[log]
        upto = len(self.logs[log]) if count is None else before.position + count
        events = [one.event for one in self.logs[log][before.position : upto]]
        if not events:
            return
        last = events[-1]
        end = Checkpoint(log, last.position, last.timeline, leaf_of(last.body))
        batch = FeedBatch(events, end, len(self.logs[log]))
        self.applied[log] = (await self.writer.apply(before, batch, NOW)).checkpoint

    async def apply_all(self) -> None:
        for log in self.logs:
            await self.apply(log)

    def grow(self, chance: random.Random, count: int) -> None:
        """Record random events: known types, unknown ones, unknown versions of known ones."""
        for _ in range(count):
            if chance.random() < 0.6:
                self._grow_registry(chance)
            else:
                self._grow_dependencies(chance)

    def _grow_registry(self, chance: random.Random) -> None:
        service, other = chance.sample(SERVICES, 2)
        by = chance.choice((None, *ORGANISATIONS))
        to = chance.choice(ORGANISATIONS)
        match chance.randrange(6):
            case 0:
                data: dict[str, Any] = {"name": "A", "kind": "api", "slug": "s", "organisation": to}
                touched = ("estate.service.registered.v1", service, data, {service}, {to})
            case 1:
                data = {"name": "B"}
                touched = ("estate.service.details_changed.v1", service, data, {service}, set())
            case 2:
                touched = ("estate.service.painted.v1", service, {"holder": to}, {service}, {to})
            case 3:
                touched = ("estate.service.registered.v9", service, {"x": [1]}, {service}, set())
            case 4:
                data = {"successor": other}
                touched = ("estate.service.retired.v1", service, data, {service, other}, set())
            case _:
                touched = ("estate.organisation.renamed.v1", to, {"name": "C"}, set(), {to})
        self._record("registry", touched, by)

    def _grow_dependencies(self, chance: random.Random) -> None:
        dependency = chance.choice(DEPENDENCIES)
        at = DEPENDENCIES.index(dependency)
        ends = {SERVICES[at], SERVICES[at + 1]}
        declared = any(one.event.subject == dependency for one in self.logs["dependencies"])
        by = chance.choice((None, *ORGANISATIONS))
        if not declared:
            data = {
                "from": SERVICES[at],
                "to": {"service": SERVICES[at + 1]},
                "kind": "data",
                "declarant": ORGANISATIONS[0],
            }
            organisations = {ORGANISATIONS[0]}
            event_type = "estate.dependency.declared.v1"
        else:
            data, organisations = {"criticality": "high"}, set()
            event_type = chance.choice(
                ("estate.dependency.changed.v1", "estate.dependency.withdrawn.v1")
            )
        self._record("dependencies", (event_type, dependency, data, ends, organisations), by)

    def _record(
        self,
        log: str,
        touched: tuple[str, str, dict[str, Any], set[str], set[str]],
        by: str | None,
    ) -> None:
        event_type, subject, data, services, organisations = touched
        self.record(
            log,
            event_type,
            subject,
            data,
            organisation=by,
            services=services,
            organisations=organisations,
        )

    def expected(self, wanted: Mapping[str, str]) -> dict[str, list[Recorded]]:
        """What a reader with these parameters must be given in the end, by log."""
        return {
            log: [one for one in recorded if _is_wanted(one, wanted)]
            for log, recorded in self.logs.items()
        }


def _is_wanted(one: Recorded, wanted: Mapping[str, str]) -> bool:
    event = one.event
    types = wanted.get("type", "*").split(",")
    return (
        any(event.type == t or (t[-1] == "*" and event.type.startswith(t[:-1])) for t in types)
        and wanted.get("service") in {None, *one.services}
        and wanted.get("organisation") in {None, *one.organisations}
        and ("log" not in wanted or event.log in wanted["log"].split(","))
    )


def random_filter(chance: random.Random) -> dict[str, str]:
    wanted: dict[str, str] = {}
    if chance.random() < 0.4:
        types = (
            "estate.service.*",
            "estate.dependency.changed.v1,estate.service.painted.*",
            "estate.service.registered.v1",
            "estate.*",
        )
        wanted["type"] = chance.choice(types)
    if chance.random() < 0.4:
        wanted["service"] = chance.choice(SERVICES)
    if chance.random() < 0.3:
        wanted["organisation"] = chance.choice(ORGANISATIONS)
    if chance.random() < 0.2:
        wanted["log"] = chance.choice(
            ("registry", "dependencies", "dependencies,registry", "other")
        )
    return wanted


def seeded(seed: float) -> random.Random:
    """Chance that is the same in each run."""
    return random.Random(seed)  # noqa: S311 - chance, not a secret.


def by_log(places: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    return {log: [at for name, at in places if name == log] for log in CHANGES.logs}


def positions(expected: Mapping[str, Sequence[Recorded]]) -> dict[str, list[int]]:
    return {log: [one.event.position for one in recorded] for log, recorded in expected.items()}


def place_of(event: Mapping[str, Any]) -> tuple[str, int]:
    return event["source"].removeprefix("estate/"), int(event["position"])


def at(log: str, position: int, timeline: int = 1) -> str:
    return str(Position(log, position, timeline))
