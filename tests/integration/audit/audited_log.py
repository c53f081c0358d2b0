"""A log in a real database, written by the real writer, and what a superuser can do to it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

import shared.eventstore
from shared.clock import SystemClock, new_id
from shared.contracts.envelope import Origin
from shared.contracts.events.services import ServiceKind, ServiceRegistered
from shared.database.migrate import find_migrations, migrate
from shared.database.provision import DatabaseAccess, provision
from shared.eventstore.reader import LogReader
from shared.eventstore.types import Category, Claim, Decision, NewEvent, PendingCommand
from shared.eventstore.writer import LogWriter

SIZE = 60
ORIGIN = Origin("prn_test", "crd_test", None, "http", "correlation", "causation")
_CATEGORY = Category("service", None, lambda state, _fact: state)
_EFFECTIVE_AT = datetime(2026, 1, 1, tzinfo=UTC)
_WAIT_MS = 2_000
_names = itertools.count()


@dataclass(frozen=True)
class AuditedLog:
    """`reader_dsn` may only read; `admin_dsn` may do everything."""

    reader_dsn: str
    admin_dsn: str

    async def tamper(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.admin_dsn, timeout=10)
        try:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
        finally:
            await connection.close(timeout=5)

    async def bodies(self) -> list[bytes]:
        connection = await asyncpg.connect(self.admin_dsn, timeout=10)
        try:
            rows = await connection.fetch("SELECT body FROM log.events ORDER BY position")
        finally:
            await connection.close(timeout=5)
        return [row["body"] for row in rows]


async def write_log(admin_dsn: str, *, source: str) -> AuditedLog:
    """Make a database that holds a log of `SIZE` events; names begin with `source`."""
    name = f"audit_{source}_{next(_names)}"
    access = await provision(admin_dsn, name, "made-up")
    folder = Path(shared.eventstore.__path__[0]) / "migrations"
    await migrate(access.owner_dsn, find_migrations("eventstore", folder))
    await _fill(access, source)
    return AuditedLog(access.app_dsn, with_database(admin_dsn, name))


async def _fill(access: DatabaseAccess, source: str) -> None:
    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(access.app_dsn, timeout=10)

    pool = await asyncpg.create_pool(access.app_dsn, min_size=1, max_size=1)
    await LogReader(pool, "registry").open()
    await pool.close()
    writer = LogWriter(connect, {"service": _CATEGORY}, SystemClock(), new_id)
    await writer.start()
    try:
        subjects = [new_id("svc_") for _ in range(SIZE // 4)]
        for number in range(SIZE):
            await writer.submit(_command(subjects[number % len(subjects)], source, number))
    finally:
        await writer.stop()


def _command(subject: str, source: str, number: int) -> PendingCommand:
    data = ServiceRegistered(
        name=f"{source} gwasanaeth — {number}",
        kind=ServiceKind.API,
        slug=f"{source}-{number}",
        organisation=None,
    )
    claim = Claim("slug", f"{source}-{number}")
    event = NewEvent(subject, data, _EFFECTIVE_AT, (claim,))
    return PendingCommand(new_id("key_"), b"h", ORIGIN, lambda _view: Decision(subject, (event,)))


async def copy_log(admin_dsn: str, original: AuditedLog) -> AuditedLog:
    """A log of its own with the same content, to be tampered with."""
    name = f"audit_copy_{next(_names)}"
    template = urlsplit(original.admin_dsn).path[1:]
    connection = await asyncpg.connect(admin_dsn, timeout=10)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close(timeout=5)
    return AuditedLog(
        with_database(original.reader_dsn, name), with_database(original.admin_dsn, name)
    )


def with_database(dsn: str, database: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def repeated(bodies: Sequence[bytes]) -> list[bytes]:
    """What a topic may hold after a relay was started again."""
    return [*bodies[:20], *bodies[15:]]
