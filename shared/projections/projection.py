"""Owns what a service declares of a projection: its logs, tables, handlers and current rows.

Must not read a feed or write a row; one loop does that for live, rebuild and replay alike.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg

from shared.contracts.envelope import Event
from shared.contracts.events.model import EventData

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")


class Row(NamedTuple):
    """One row that an event leads to; `values` in the order of the table's columns."""

    table: str
    values: tuple[Any, ...]


Handler = Callable[[Event, EventData | None], Iterable[Row]]
"""Turns one event into rows, purely and without memory of other events.

The data is validated, in today's version; None once it was redacted.
"""

Refresh = Callable[[Connection, Sequence[str], datetime], Awaitable[None]]
"""Brings what is derived from stored rows up to date for these subjects at this instant.

What it writes must depend on stored rows and the instant alone, so that a rebuild gives the same.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that handlers write to.

    `columns` are those of `Row.values`; `key` names the columns that are unique together, by which
    rows are compared. Rows are only ever added, unless `replaces`: then a row takes the place
    of the one with the same key, whose unique index must be in the DDL, and one key
    must be written from one log only. `touches` names a column whose values are subjects to be
    refreshed.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    replaces: bool = False
    touches: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentTable:
    """A table with the present row of each subject, made anew for each subject touched.

    `select` answers exactly `columns` for the subjects `$1::text[]` at the instant `$2`; a subject
    that it leaves out has no row. `current_facts($1, $2)` of facts.sql does most of the work.
    `subject` names the column that holds the subject; it is unique.
    """

    name: str
    columns: tuple[str, ...]
    select: str
    subject: str = "subject"


@dataclass(frozen=True, slots=True)
class Projection:
    """A read model as its service declares it.

    Tables of generation N live in the schema `<name>_g<N>`, and DDL and queries name them without a
    schema. `handlers` are by event type in today's version; other types only advance. Raise
    `version` whenever DDL, handlers or derived rows change: the next start rebuilds beside the old.
    `indexes` are applied once a bulk rebuild has copied its rows. With `facts`, the tables
    and functions of facts.sql are part of it. `default` takes every event that has no handler, of
    whatever type and version; its data was not validated and is handed over as None.
    """

    name: str
    version: int
    logs: tuple[str, ...]
    handlers: Mapping[str, Handler]
    tables: tuple[Table, ...] = ()
    currents: tuple[CurrentTable, ...] = ()
    ddl: tuple[Path, ...] = ()
    indexes: tuple[Path, ...] = ()
    facts: bool = False
    refresh: Refresh | None = None
    default: Handler | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is no plain identifier, for schemas are named after it."""
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"{self.name!r} is not a plain identifier of at most 41 characters")

    def schema(self, generation: int) -> str:
        """The schema of one generation."""
        return f"{self.name}_g{generation}"
