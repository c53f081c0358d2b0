"""Owns the server's side of one connection: what its transaction has written and holds locked.

Must not decide when anything is committed; the server does.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tests.simulation.virtual_time import Process

if TYPE_CHECKING:
    from tests.simulation.fake_database import FakeDatabase

Key: TypeAlias = tuple[Hashable, Hashable]
Row: TypeAlias = dict[str, Any]


class BlockedError(Exception):
    """Another transaction holds what this statement needs."""

    def __init__(self, key: Hashable) -> None:
        super().__init__(key)
        self.key = key


@dataclass(eq=False, slots=True)
class Session:
    """The server's side of one connection. In a transaction it holds writes back, and locks."""

    database: "FakeDatabase"
    process: Process | None
    schema: str = ""
    is_durable: bool = True
    lock_timeout_s: float | None = None
    transaction_timeout_s: float | None = None
    listeners: list[Callable[[Any, Any], None]] = field(default_factory=list)
    writes: dict[Key, Row | None] = field(default_factory=dict)
    locks: dict[Hashable, None] = field(default_factory=dict)
    in_transaction: bool = False
    failed: bool = False
    broken: bool = False
    began_at: float | None = None
    busy_until: float = 0.0
    asked: int = 0

    def get(self, table: Hashable, key: Hashable) -> Row | None:
        """One row, as this transaction sees it."""
        if self.writes and (table, key) in self.writes:
            return self.writes[table, key]
        return self.database.tables.get(table, {}).get(key)

    def rows(self, table: Hashable) -> Iterator[tuple[Any, Row]]:
        """All rows of a table, in no order that means anything."""
        for key, row in self.database.tables.get(table, {}).items():
            if (table, key) not in self.writes:
                yield key, row
        for (written, key), changed in self.writes.items():
            if written == table and changed is not None:
                yield key, changed

    def lock(self, *keys: Hashable) -> None:
        """Hold something until the transaction ends.

        Raises: BlockedError.
        """
        for key in keys:
            if self.database.locks.get(key, self) is not self:
                raise BlockedError(key)
        for key in keys:
            self.database.locks[key] = self
            self.locks[key] = None

    def put(self, table: Hashable, key: Hashable, row: Row | None) -> None:
        """Write a row, or with None take it away.

        Raises: BlockedError.
        """
        self.lock((table, key))
        self.writes[table, key] = row

    def insert(self, table: Hashable, rows: dict[Any, Row]) -> None:
        """Add rows, all or none.

        Raises: BlockedError; UniqueViolationError.
        """
        self.lock(*((table, key) for key in rows))
        for key in rows:
            if self.get(table, key) is not None:
                raise asyncpg.UniqueViolationError(f"{table} holds {key}")
        for key, row in rows.items():
            self.put(table, key, row)

    @property
    def now(self) -> datetime:
        """The database's clock."""
        return self.database.now()
