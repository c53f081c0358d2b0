"""Owns the servers of a run and the databases on them; a filled log is made once and copied.

Must not measure.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from benchmarks.estate_data import Estate, fill_log
from deploy.local.launcher import BackingServices
from shared.database.migrate import migrate
from shared.database.provision import DatabaseAccess, provision
from shared.eventstore.reader import open_log
from shared.messaging.kafka import KafkaSettings
from shared.service.log_service import MIGRATIONS

Say = Callable[[str], None]


@dataclass(slots=True)
class Bench:
    """What every benchmark works with: servers, a state folder, how many rounds."""

    backing: BackingServices
    state_dir: Path
    rounds: int
    say: Say
    _made: int = 0
    _filled: dict[Estate, str] = field(default_factory=dict)

    @property
    def kafka(self) -> KafkaSettings:
        access = self.backing.kafka
        return KafkaSettings(
            access.bootstrap,
            access.security_protocol,
            access.sasl_mechanism,
            access.username,
            access.password,
        )

    def fresh_name(self, what: str) -> str:
        """A name for a database or a topic that nobody has used."""
        self._made += 1
        return f"bench_{what}_{self._made}_{secrets.token_hex(3)}"

    async def new_log(self, log: str = "registry") -> DatabaseAccess:
        """A migrated database with an empty log."""
        access = await provision(self.backing.postgres_dsn, self.fresh_name(log), "made-up")
        await migrate(access.owner_dsn, MIGRATIONS)
        async with connected(access.owner_dsn) as connection:
            await open_log(connection, log)
        return access

    async def filled_log(self, estate: Estate) -> DatabaseAccess:
        """A database with the estate in its log: a copy of the one that was filled first."""
        if estate not in self._filled:
            access = await self.new_log()
            self.say(f"filling a log with {estate.events:,} events")
            await fill_log(access.app_dsn, estate)
            self._filled[estate] = access.owner_dsn.rpartition("/")[2]
        return await self._copied(self._filled[estate])

    async def drop(self, access: DatabaseAccess) -> None:
        """Give the disk back."""
        name = access.owner_dsn.rpartition("/")[2]
        async with connected(self.backing.postgres_dsn) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _copied(self, template: str) -> DatabaseAccess:
        """A copy's roles are members of the template's, since the grants in a copy name those."""
        name = self.fresh_name("copy")
        async with connected(self.backing.postgres_dsn) as connection:
            for role in ("owner", "app"):
                await connection.execute(f"CREATE ROLE {name}_{role} IN ROLE {template}_{role}")
            await connection.execute(
                f"CREATE DATABASE {name} OWNER {name}_owner TEMPLATE {template} STRATEGY FILE_COPY"
            )
        return await provision(self.backing.postgres_dsn, name, "made-up")


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """One connection that commits durably."""
    connection = await asyncpg.connect(
        dsn, timeout=10, server_settings={"synchronous_commit": "on"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


def connecting(dsn: str) -> Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]:
    """How a LogWriter gets the connection that it commits through."""

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(dsn, timeout=10, server_settings={"synchronous_commit": "on"})

    return connect


@asynccontextmanager
async def pooled(dsn: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A pool as services have one."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4, command_timeout=120)
    try:
        yield pool
    finally:
        pool.terminate()
