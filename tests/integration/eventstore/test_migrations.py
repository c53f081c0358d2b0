import asyncio
import dataclasses

import asyncpg
import pytest

from shared.database.migrate import (
    Migration,
    MigrationDriftError,
    migrate,
    missing_migrations,
)
from shared.database.provision import DatabaseAccess, provision
from shared.eventstore.reader import open_log
from shared.eventstore.types import AnotherLogError
from shared.service.log_service import MIGRATIONS
from tests.support.databases import PASSWORD, Databases

FIRST = Migration("sample", "0001_first", "CREATE TABLE public.sample (x int)")
SECOND = Migration("sample", "0002_second", "INSERT INTO public.sample VALUES (1)")


@pytest.fixture
async def bare(databases: Databases) -> DatabaseAccess:
    """A database that was made and never migrated."""
    name = f"{databases.template}_bare{len(databases.made)}"
    databases.made.append(name)
    return await provision(databases.admin_dsn, name, PASSWORD)


async def count(access: DatabaseAccess, query: str) -> int:
    connection = await asyncpg.connect(access.owner_dsn, timeout=5)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close(timeout=5)


async def test_of_several_that_start_at_once_one_applies_each_migration(
    bare: DatabaseAccess,
) -> None:
    wanted = (*MIGRATIONS, FIRST, SECOND)
    applied = await asyncio.gather(*(migrate(bare.owner_dsn, wanted) for _ in range(4)))
    assert sorted(applied) == [0, 0, 0, len(wanted)]
    assert await count(bare, "SELECT count(*) FROM public.sample") == 1
    assert await count(bare, "SELECT count(*) FROM public.migrations") == len(wanted)


async def test_applied_again_nothing_is_done_and_what_is_new_is_added(
    bare: DatabaseAccess,
) -> None:
    assert await migrate(bare.owner_dsn, [FIRST]) == 1
    assert await migrate(bare.owner_dsn, [FIRST]) == 0
    assert await migrate(bare.owner_dsn, [FIRST, SECOND]) == 1
    assert await migrate(bare.owner_dsn, [FIRST, SECOND]) == 0
    assert await count(bare, "SELECT count(*) FROM public.sample") == 1


async def test_an_applied_file_that_changed_since_is_refused_and_nothing_applied(
    bare: DatabaseAccess,
) -> None:
    await migrate(bare.owner_dsn, [FIRST])
    changed = dataclasses.replace(FIRST, sql=FIRST.sql + " ")
    with pytest.raises(MigrationDriftError, match="sample/0001_first"):
        await migrate(bare.owner_dsn, [SECOND, changed])
    assert await count(bare, "SELECT count(*) FROM public.sample") == 0


async def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(
    bare: DatabaseAccess,
) -> None:
    broken = dataclasses.replace(SECOND, sql="CREATE TABLE public.half (x int); SELECT nonsense()")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await migrate(bare.owner_dsn, [FIRST, broken])
    assert await count(bare, "SELECT count(*) FROM pg_tables WHERE tablename = 'half'") == 0
    assert await migrate(bare.owner_dsn, [FIRST, SECOND]) == 1


async def test_readiness_tells_what_is_missing_as_the_service_s_role(
    bare: DatabaseAccess,
) -> None:
    connection = await asyncpg.connect(bare.app_dsn, timeout=5)
    try:
        assert await missing_migrations(connection, [FIRST, SECOND]) == (FIRST, SECOND)
        await migrate(bare.owner_dsn, [FIRST])
        assert await missing_migrations(connection, [FIRST, SECOND]) == (SECOND,)
        changed = dataclasses.replace(FIRST, sql="SELECT 1")
        with pytest.raises(MigrationDriftError):
            await missing_migrations(connection, [changed])
    finally:
        await connection.close(timeout=5)


async def test_a_log_opened_again_stays_as_it_is(database: DatabaseAccess) -> None:
    connection = await asyncpg.connect(database.app_dsn, timeout=5)
    try:
        await connection.execute("UPDATE log.head SET halted = 'x'")
        await open_log(connection, "registry")
        assert await connection.fetchval("SELECT halted FROM log.head") == "x"
    finally:
        await connection.close(timeout=5)


async def test_the_database_of_another_log_is_refused_and_left_as_it_is(
    database: DatabaseAccess,
) -> None:
    connection = await asyncpg.connect(database.app_dsn, timeout=5)
    try:
        with pytest.raises(AnotherLogError, match="belongs to the log registry, not to dep"):
            await open_log(connection, "dependencies")
        assert await connection.fetchval("SELECT log FROM log.head") == "registry"
    finally:
        await connection.close(timeout=5)


async def test_a_database_is_made_again_without_harm_and_its_password_set_anew(
    databases: Databases, database: DatabaseAccess
) -> None:
    name = database.owner_dsn.rpartition("/")[2]
    changed = await provision(databases.admin_dsn, name, "a new/one@?#")
    for dsn in (changed.owner_dsn, changed.app_dsn):
        connection = await asyncpg.connect(dsn, timeout=5)
        assert await connection.fetchval("SELECT count(*) FROM log.head") == 1
        await connection.close(timeout=5)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database.app_dsn, timeout=5)
