"""A log of the estate in a real database, filled through the real writer."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

import shared.eventstore
import shared.projections
from shared.clock import SystemClock, new_id
from shared.contracts.envelope import Origin
from shared.contracts.events.dependencies import DependencyWithdrawn
from shared.contracts.events.model import EventData
from shared.contracts.events.services import (
    Phase,
    ServiceDetailsChanged,
    ServiceKind,
    ServicePhaseChanged,
    ServiceRegistered,
)
from shared.database.migrate import find_migrations, migrate
from shared.database.provision import DatabaseAccess, provision
from shared.eventstore.reader import HeadSignal, LogReader
from shared.eventstore.types import Category, Decision, NewEvent, Outcome, PendingCommand
from shared.eventstore.writer import LogWriter
from shared.projections.log_feed import LogFeed

_names = itertools.count()
ORIGIN = Origin("prn_test", "crd_test", None, "http", "correlation", "causation")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_CATEGORIES = {
    kind: Category(kind, None, lambda state, _fact: state)
    for kind in ("organisation", "service", "dependency")
}


async def make_database(admin_dsn: str) -> DatabaseAccess:
    access = await provision(admin_dsn, f"projections_{next(_names)}", "made-up")
    for package, component in (
        (shared.eventstore, "eventstore"),
        (shared.projections, "projections"),
    ):
        folder = Path(package.__path__[0]) / "migrations"
        await migrate(access.owner_dsn, find_migrations(component, folder))
    return access


@dataclass(frozen=True, slots=True)
class ServiceLog:
    access: DatabaseAccess
    pool: "asyncpg.Pool[asyncpg.Record]"
    reader: LogReader
    writer: LogWriter
    signal: HeadSignal

    def feed(self, _log: str = "") -> LogFeed:
        return LogFeed(self.reader, self.signal)

    async def append(self, *events: NewEvent) -> Outcome:
        subject = events[0].subject
        return await self.writer.submit(
            PendingCommand(new_id("key_"), b"h", ORIGIN, lambda _view: Decision(subject, events))
        )

    async def append_all(self, events: Sequence[NewEvent], at_once: int = 100) -> None:
        commands = [
            PendingCommand(
                new_id("key_"),
                b"h",
                ORIGIN,
                lambda _view, some=tuple(events[start : start + at_once]): Decision(  # type: ignore[misc]
                    some[0].subject, some
                ),
            )
            for start in range(0, len(events), at_once)
        ]
        for start in range(0, len(commands), 1000):
            waiting = [self.writer.enqueue(one) for one in commands[start : start + 1000]]
            for one in waiting:
                await one

    async def as_owner(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.access.owner_dsn)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def open_log(access: DatabaseAccess, name: str) -> AsyncIterator[ServiceLog]:
    signal = HeadSignal()
    async with asyncpg.create_pool(access.app_dsn, min_size=1, max_size=4) as pool:
        reader = LogReader(pool, name)
        await reader.open()
        writer = LogWriter(
            lambda: asyncpg.connect(access.app_dsn),
            _CATEGORIES,
            SystemClock(),
            new_id,
            on_batch=lambda done: signal.announce(done.position),
        )
        await writer.start()
        try:
            yield ServiceLog(access, pool, reader, writer, signal)
        finally:
            await writer.stop()


def registered(
    subject: str, name: str, at: datetime = LONG_AGO, corrects: tuple[int, ...] = ()
) -> NewEvent:
    data = ServiceRegistered(name=name, kind=ServiceKind.API, slug=subject.replace("_", "-"))
    return NewEvent(subject, _correcting(data, corrects), at)


def renamed(
    subject: str, name: str, at: datetime = LONG_AGO, corrects: tuple[int, ...] = ()
) -> NewEvent:
    return NewEvent(subject, _correcting(ServiceDetailsChanged(name=name), corrects), at)


def phased(subject: str, phase: Phase, at: datetime = LONG_AGO) -> NewEvent:
    return NewEvent(subject, ServicePhaseChanged(phase=phase), at)


def withdrawn(subject: str, at: datetime = LONG_AGO) -> NewEvent:
    return NewEvent(subject, DependencyWithdrawn(), at)


def _correcting(data: EventData, corrects: tuple[int, ...]) -> EventData:
    return data.model_copy(update={"corrects": corrects}) if corrects else data


def estate(services: int, changes: int) -> list[NewEvent]:
    """Some services, then changes to them in turn, each effective a day later than the last."""
    subjects = [f"svc_{index:032x}" for index in range(services)]
    events = [registered(subject, f"Service {i}") for i, subject in enumerate(subjects)]
    for change in range(changes):
        subject = subjects[change % services]
        at = LONG_AGO + timedelta(days=1 + change // services)
        made = (
            renamed(subject, f"Name {change}", at)
            if change % 2
            else phased(subject, list(Phase)[change % 4], at)
        )
        events.append(made)
    return events
