"""What the running service's role can do to the log, tried as that role."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from shared.database.migrate import migrate, missing_migrations
from shared.database.provision import DatabaseAccess, provision
from shared.service.log_service import MIGRATIONS
from tests.conftest import NewDatabase
from tests.integration.eventstore.log_under_test import LogUnderTest, open_log
from tests.support.counting import add
from tests.support.databases import PASSWORD, Databases

FORBIDDEN = [
    *(
        statement.format(table=f"log.{table}")
        for table in ("events", "claims", "commands", "repairs")
        for statement in (
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "ALTER TABLE {table} DISABLE TRIGGER ALL",
            "ALTER TABLE {table} ADD COLUMN more text",
            "ALTER TABLE {table} RENAME TO other",
            "DROP TABLE {table}",
            "SELECT 1 FROM {table} FOR UPDATE",
            "CREATE RULE r AS ON INSERT TO {table} DO INSTEAD NOTHING",
        )
    ),
    "UPDATE log.events SET body = ''",
    "UPDATE log.events SET position = 7",
    "UPDATE log.claims SET stream = 'x'",
    "UPDATE log.commands SET outcome = ''",
    """
    INSERT INTO log.repairs (act, done_by, reason, position, timeline, publication)
    VALUES ('lift-halt', 'x', 'x', 1, 1, 1)
    """,
    "UPDATE log.repairs SET reason = ''",
    """
    INSERT INTO log.events SELECT * FROM log.events
    ON CONFLICT (position) DO UPDATE SET body = excluded.body
    """,
    """
    MERGE INTO log.events e USING log.events s ON e.position = s.position
    WHEN MATCHED THEN DELETE
    """,
    "UPDATE log.head SET publication = 2",
    "UPDATE log.head SET timeline = 2",
    "UPDATE log.head SET log = 'other'",
    "UPDATE log.head SET single = true",
    "DELETE FROM log.head",
    "TRUNCATE log.head",
    "DROP SCHEMA log CASCADE",
    "ALTER SCHEMA log RENAME TO other",
    "CREATE TABLE log.more (x int)",
    "UPDATE public.migrations SET sha256 = ''",
    "DELETE FROM public.migrations",
    "DROP TABLE public.migrations",
    "CREATE TABLE public.more (x int)",
    "SET session_replication_role = replica",
    "SELECT pg_read_file('/etc/hostname')",
    "COPY log.events TO PROGRAM 'true'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE other",
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(databases: Databases) -> AsyncIterator[LogUnderTest]:
    """One log for all that must not change it."""
    async with open_log(await databases.new()) as log:
        async with log.writer() as writer:
            await writer.submit(add("k1"))
        yield log


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_service_s_role_may_not(guarded: LogUnderTest, statement: str) -> None:
    before = await guarded.reader.head()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await guarded.as_app(statement)
    assert await guarded.reader.head() == before
    assert len(await guarded.check()) == 1


async def test_the_service_s_role_may_not_become_the_owner(
    log: LogUnderTest, database: DatabaseAccess
) -> None:
    async with log.pool.acquire() as connection:
        name = await connection.fetchval("SELECT current_database()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SET ROLE {name}_owner")
    assert database.app_dsn != database.owner_dsn


async def test_the_service_s_role_cannot_enter_another_service_s_database(
    database: DatabaseAccess, new_database: NewDatabase
) -> None:
    other = await new_database()
    address = database.app_dsn.rpartition("/")[0] + "/" + other.app_dsn.rpartition("/")[2]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(address, timeout=5)


async def test_a_database_made_without_the_template_has_the_same_rights(
    databases: Databases,
) -> None:
    """The other tests use copies, so one looks at what `provision` and `migrate` give."""
    name = f"{databases.template}_plain"
    databases.made.append(name)
    access = await provision(databases.admin_dsn, name, PASSWORD)
    await migrate(access.owner_dsn, MIGRATIONS)
    connection = await asyncpg.connect(access.app_dsn, timeout=5)
    try:
        for statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.execute("INSERT INTO log.head (log) VALUES ('registry')")
        await connection.execute("UPDATE log.head SET halted = 'x'")
        assert await missing_migrations(connection, MIGRATIONS) == ()
    finally:
        await connection.close(timeout=5)
