"""Owns synthetic estates, the same for the same seed, and writing one into a log as sealed events.

Must make only what the contracts allow: logs made here verify, and every read model folds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from random import Random
from typing import Any, Final

import asyncpg

from shared.clock import SystemClock, new_id
from shared.contracts.envelope import Origin
from shared.contracts.events.model import EventData
from shared.contracts.events.organisations import OrganisationKind, OrganisationRegistered
from shared.contracts.events.services import (
    Phase,
    Role,
    RoleAssigned,
    ServiceDetailsChanged,
    ServiceKind,
    ServicePhaseChanged,
    ServiceRegistered,
    SourceAttributes,
)
from shared.eventstore import append
from shared.eventstore.batch import Batch
from shared.eventstore.types import Category, Claim, Decision, Loaded, NewEvent, PendingCommand
from shared.eventstore.view import BatchView, Cache

BEGINNING: Final = datetime(2016, 1, 1, tzinfo=UTC)
_YEARS_S: Final = 10 * 365 * 24 * 3600
_COMMAND_EVENTS: Final = 20
_COMMIT_COMMANDS: Final = 200
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Estate:
    """So many events about so many services, kept by organisations and owned by teams."""

    events: int
    services: int
    seed: int = 7

    @property
    def organisations(self) -> int:
        return max(1, self.services // 200)

    @property
    def teams(self) -> int:
        return max(2, self.services // 20)

    def service(self, index: int) -> str:
        """The id of a service."""
        return _id("svc", self.seed, index)

    def organisation(self, index: int) -> str:
        """The id of an organisation; those behind the organisations proper are teams."""
        return _id("org", self.seed, index)


def estate_of(events: int) -> Estate:
    """An estate in which each service has about nine events, as in the demonstration."""
    return Estate(events, max(1, events // 9))


def _id(prefix: str, seed: int, index: int) -> str:
    return f"{prefix}_{seed:08x}{index:024x}"


def events_of(estate: Estate) -> Iterator[NewEvent]:
    """The estate's events in log order; their effective times rise over ten years."""
    moments = _moments(estate.events)
    made = chain(_registered_organisations(estate), _registered_services(estate), _changes(estate))
    for (subject, data, claims), moment in zip(islice(made, estate.events), moments, strict=True):
        yield NewEvent(subject, data, moment, claims)


_Made = tuple[str, EventData, tuple[Claim, ...]]


def _moments(count: int) -> Iterator[datetime]:
    step = timedelta(microseconds=_YEARS_S * 1_000_000 // max(1, count))
    return (BEGINNING + index * step for index in range(count))


def _registered_organisations(estate: Estate) -> Iterator[_Made]:
    for index in range(estate.organisations + estate.teams):
        is_team = index >= estate.organisations
        slug = f"{'team' if is_team else 'department'}-{index:06d}"
        parent = estate.organisation(index % estate.organisations) if is_team else None
        data = OrganisationRegistered(
            name=f"{'Team' if is_team else 'Department'} {index}",
            kind=OrganisationKind.TEAM if is_team else OrganisationKind.DEPARTMENT,
            slug=slug,
            **({} if parent is None else {"parent": parent}),
        )
        yield estate.organisation(index), data, (Claim("organisation.slug", slug),)


def _registered_services(estate: Estate) -> Iterator[_Made]:
    random = Random(estate.seed)  # noqa: S311 - data, not a secret.
    kinds = tuple(ServiceKind)
    for index in range(estate.services):
        slug, alias = f"service-{index:07d}", f"bench:{index}"
        data = ServiceRegistered(
            name=f"Service {index}",
            kind=random.choice(kinds),
            slug=slug,
            organisation=estate.organisation(index % estate.organisations),
            phase=Phase.DISCOVERY,
            description="Lets people apply, renew and tell us about a change of circumstances.",
            aliases=(alias,),
            attributes=SourceAttributes(
                source="bench", set={"hosted_on": "eks", "team_size": random.randrange(3, 30)}
            ),
        )
        claims = (Claim("service.slug", slug), Claim("service.alias", alias))
        yield estate.service(index), data, claims


def _changes(estate: Estate) -> Iterator[_Made]:
    """Round after round one change of every service, in an order of its own each round."""
    random = Random(estate.seed + 1)  # noqa: S311 - data, not a secret.
    order = list(range(estate.services))
    round_number = 0
    while True:
        random.shuffle(order)
        for index in order:
            yield estate.service(index), _change(estate, index, round_number), ()
        round_number += 1


def _change(estate: Estate, index: int, round_number: int) -> EventData:
    step = round_number // 3
    match round_number % 3:
        case 0:
            return RoleAssigned(
                role=Role.OWNING_TEAM,
                holder=_owner(estate, index, step),
                previous_holder=None if step == 0 else _owner(estate, index, step - 1),
                reason="handed over",
            )
        case 1:
            phases = (Phase.ALPHA, Phase.BETA, Phase.LIVE)
            return ServicePhaseChanged(phase=phases[step % 3], reason="assessment met")
        case _:
            changed = SourceAttributes(source="bench", set={"hosted_on": f"cluster-{step}"})
            return ServiceDetailsChanged(name=f"Service {index} ({step})", attributes=changed)


def _owner(estate: Estate, index: int, step: int) -> str:
    return estate.organisation(estate.organisations + (index + step) % estate.teams)


class _Everything(Cache):
    """A cache that knows the whole log because it saw every event of it: what it lacks is new."""

    def __init__(self) -> None:
        super().__init__({})
        self._versions: dict[str, Loaded[Any]] = {}
        self._holders: dict[Claim, str | None] = {}

    def state(self, stream: str) -> Loaded[Any]:
        return self._versions.get(stream) or Loaded(None, 0)

    def knows_claim(self, claim: Claim) -> bool:  # noqa: ARG002 - it knows all of them.
        return True

    def holder(self, claim: Claim) -> str | None:
        return self._holders.get(claim)

    def put_state(self, stream: str, loaded: Loaded[Any]) -> None:
        self._versions[stream] = loaded

    def put_claim(self, claim: Claim, stream: str | None) -> None:
        self._holders[claim] = stream


STATELESS: Final[dict[str, Category[Any]]] = {
    kind: Category(kind, None, lambda state, _fact: state)
    for kind in ("organisation", "service", "dependency")
}
"""Categories whose states nobody looks at: the log's own work is all that is done."""


async def fill_log(dsn: str, estate: Estate) -> None:
    """Append the whole estate to an empty log, through the code that every append goes through."""
    connection = await asyncpg.connect(dsn, timeout=10)
    cache, events = _Everything(), events_of(estate)
    try:
        while groups := list(islice(_groups(events), _COMMIT_COMMANDS)):
            await _append(connection, cache, groups)
    finally:
        await connection.close(timeout=10)


def _groups(events: Iterator[NewEvent]) -> Iterator[tuple[NewEvent, ...]]:
    while group := tuple(islice(events, _COMMAND_EVENTS)):
        yield group


async def _append(
    connection: append.Connection, cache: Cache, groups: list[tuple[NewEvent, ...]]
) -> None:
    await connection.execute(append.OPEN_GATE)
    head, clock_at, _ = await append.read_head(connection, (), _TIMEOUT_S)
    batch = Batch(head, BatchView(cache, {}), STATELESS, new_id, clock_at, {})
    for index, group in enumerate(groups):
        batch.decide(pending(f"fill:{head.position}:{index}", group))
    await append.write(connection, batch, _TIMEOUT_S)
    await connection.execute("COMMIT")
    batch.view.keep(batch.position)


def pending(key: str, events: tuple[NewEvent, ...]) -> PendingCommand:
    """A command that leads to these events whatever is in the log."""
    decision = Decision(events[0].subject, events)
    origin = Origin("prn_bench", "crd_bench", None, "http", "corr-bench", key)
    return PendingCommand(key, key.encode().ljust(32)[:32], origin, lambda _view: decision)


CLOCK: Final = SystemClock()
