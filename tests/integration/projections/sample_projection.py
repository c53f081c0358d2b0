"""A projection as a service declares it, small enough to check by eye."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from shared.contracts.envelope import Event
from shared.contracts.events.dependencies import DependencyWithdrawn
from shared.contracts.events.model import EventData
from shared.contracts.events.services import (
    ServiceDetailsChanged,
    ServicePhaseChanged,
    ServiceRegistered,
)
from shared.projections.facts import state_facts
from shared.projections.projection import CurrentTable, Handler, Projection, Row, Table
from shared.projections.writing import compared_tables

_HERE = Path(__file__).parent

HISTORY = Table("history", ("log", "position", "subject", "type"), key=("log", "position"))
LATEST = Table("latest", ("subject", "position"), key=("subject",), replaces=True)
CURRENT = CurrentTable(
    "services",
    ("subject", "name", "phase", "valid_until"),
    "SELECT subject, state ->> 'name', state ->> 'phase', valid_until FROM current_facts($1, $2)",
)


class PoisonError(Exception):
    """What a handler at fault raises."""


def on_service(event: Event, data: EventData | None) -> Iterator[Row]:
    yield Row("history", (event.log, event.position, event.subject, event.type))
    yield Row("latest", (event.subject, event.position))
    match data:
        case ServiceRegistered(name=name):
            yield from state_facts(event, data, event.subject, {"name": name, "phase": None})
        case ServiceDetailsChanged(name="poison"):
            raise PoisonError
        case ServiceDetailsChanged(name="unfit"):
            yield Row("history", (event.log, event.position, None, event.type))
        case ServiceDetailsChanged(name=name):
            yield from state_facts(event, data, event.subject, {"name": name})
        case ServicePhaseChanged(phase=phase):
            yield from state_facts(event, data, event.subject, {"phase": phase})


HANDLERS: dict[str, Handler] = dict.fromkeys(
    (ServiceRegistered.TYPE, ServiceDetailsChanged.TYPE, ServicePhaseChanged.TYPE), on_service
)


def sample(version: int = 1, handlers: dict[str, Handler] | None = None) -> Projection:
    return Projection(
        name="sample",
        version=version,
        logs=("registry",),
        handlers=handlers or HANDLERS,
        tables=(HISTORY, LATEST),
        currents=(CURRENT,),
        ddl=(_HERE / "sample.sql",),
        indexes=(_HERE / "sample_indexes.sql",),
        facts=True,
    )


def _on_dependency(event: Event, data: EventData | None) -> Iterator[Row]:
    yield from state_facts(event, data, event.subject, {f"withdrawn:{event.position}": True})


def two_logs() -> Projection:
    one = sample()
    handlers = {**HANDLERS, DependencyWithdrawn.TYPE: _on_dependency}
    return Projection(
        name="both",
        version=1,
        logs=("registry", "dependencies"),
        handlers=handlers,
        tables=one.tables,
        currents=(
            CurrentTable(
                "services",
                ("subject", "name", "phase", "valid_until"),
                "SELECT subject, state::text, NULL, valid_until FROM current_facts($1, $2)",
            ),
        ),
        ddl=one.ddl,
        indexes=one.indexes,
        facts=True,
    )


async def contents(dsn: str, projection: Projection, schema: str) -> dict[str, list[Any]]:
    """Every compared table of a generation, whole and in order, all in one snapshot."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {
                table: [
                    row[0]
                    for row in await connection.fetch(
                        f'SELECT t::text COLLATE "C" AS line FROM {schema}.{table} t ORDER BY line'
                    )
                ]
                for table in compared_tables(projection)
            }
    finally:
        await connection.close()
