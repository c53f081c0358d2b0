"""Owns applying numbered SQL files, once each, in order, whoever starts first.

Must not run anything that the application's own role could run at its leisure: the owner's
credentials are for this module only.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

_LOCK: Final = 0x657374617465  # "estate"
_LOCK_DEADLINE_S: Final = 60.0
_LOCK_POLL_S: Final = 0.1

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS public.migrations (
    component text NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (component, name)
)
"""
_GRANT_READ: Final = """
DO $$ BEGIN
    EXECUTE format('GRANT SELECT ON public.migrations TO %I', current_database() || '_app');
END $$
"""
_SELECT_APPLIED: Final = "SELECT component, name, sha256 FROM public.migrations"
_INSERT_APPLIED: Final = """
INSERT INTO public.migrations (component, name, sha256) VALUES ($1, $2, $3)
"""


class MigrationDriftError(Exception):
    """An applied migration file has changed since; forward-only files are never edited."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file of one component."""

    component: str
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The digest that tells whether an applied file has changed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def find_migrations(component: str, folder: Path) -> tuple[Migration, ...]:
    """Read a component's `NNNN_name.sql` files in order."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return tuple(Migration(component, file.stem, file.read_text()) for file in files)


async def migrate(dsn: str, migrations: Sequence[Migration]) -> int:
    """Apply what is missing and return how many that were.

    Several processes may call it at once; one applies, the others wait and find nothing to do.

    Raises: MigrationDriftError; TimeoutError when the lock is not had within a minute.
    """
    connection = await asyncpg.connect(dsn, timeout=10, statement_cache_size=0)
    try:
        await _take_lock(connection)
        await connection.execute(_CREATE_TABLE)
        await connection.execute(_GRANT_READ)
        missing = _missing(await connection.fetch(_SELECT_APPLIED), migrations)
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    _INSERT_APPLIED, migration.component, migration.name, migration.sha256
                )
        return len(missing)
    finally:
        await connection.close(timeout=5)


async def missing_migrations(
    connection: "asyncpg.Connection[asyncpg.Record]", migrations: Sequence[Migration]
) -> tuple[Migration, ...]:
    """Tell which migrations a database still lacks; used by readiness.

    Raises: MigrationDriftError.
    """
    try:
        return tuple(_missing(await connection.fetch(_SELECT_APPLIED), migrations))
    except asyncpg.UndefinedTableError:
        return tuple(migrations)


def _missing(applied: Sequence[asyncpg.Record], wanted: Sequence[Migration]) -> list[Migration]:
    digests = {(row["component"], row["name"]): row["sha256"] for row in applied}
    for migration in wanted:
        digest = digests.get((migration.component, migration.name))
        if digest not in {None, migration.sha256}:
            raise MigrationDriftError(
                f"{migration.component}/{migration.name} changed since applied"
            )
    return [m for m in wanted if (m.component, m.name) not in digests]


async def _take_lock(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    # Polling, since a blocking advisory lock deadlocks with CREATE INDEX CONCURRENTLY:
    # whoever waits holds a snapshot that the index build waits for.
    async with asyncio.timeout(_LOCK_DEADLINE_S):
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            await asyncio.sleep(_LOCK_POLL_S)
