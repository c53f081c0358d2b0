"""Owns making a migrated database for one test, fast: every one is a copy of one template.

Must not hand out a database twice.
"""

import secrets
from dataclasses import dataclass, field

import asyncpg

from shared.database.migrate import migrate
from shared.database.provision import DatabaseAccess, provision
from shared.eventstore.reader import open_log
from shared.service.log_service import MIGRATIONS

PASSWORD = "made-up"


@dataclass(slots=True)
class Databases:
    """Makes databases on one server and can drop them all again.

    A copy's roles are members of the template's, since the grants in a copy name those.
    """

    admin_dsn: str
    template: str = field(default_factory=lambda: f"estate_{secrets.token_hex(4)}")
    made: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """Make and migrate the template."""
        access = await provision(self.admin_dsn, self.template, PASSWORD)
        await migrate(access.owner_dsn, MIGRATIONS)

    async def new(self, log: str = "registry") -> DatabaseAccess:
        """A fresh database with an empty log, in the form that `provision` gives it."""
        name = f"{self.template}_{len(self.made)}"
        self.made.append(name)
        connection = await asyncpg.connect(self.admin_dsn, timeout=10)
        try:
            for role in ("owner", "app"):
                await connection.execute(
                    f"CREATE ROLE {name}_{role} IN ROLE {self.template}_{role}"
                )
            await connection.execute(
                f"CREATE DATABASE {name} OWNER {name}_owner TEMPLATE {self.template}"
            )
        finally:
            await connection.close(timeout=5)
        access = await provision(self.admin_dsn, name, PASSWORD)
        owner = await asyncpg.connect(access.owner_dsn, timeout=10)
        try:
            await open_log(owner, log)
        finally:
            await owner.close(timeout=5)
        return access

    async def drop_all(self) -> None:
        """Leave a server that is not ours as it was."""
        connection = await asyncpg.connect(self.admin_dsn, timeout=10)
        try:
            for name in (*self.made, self.template):
                await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                await connection.execute(f"DROP ROLE IF EXISTS {name}_owner, {name}_app")
        finally:
            await connection.close(timeout=5)
