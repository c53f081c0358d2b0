import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest

from shared.database.provision import DatabaseAccess
from shared.eventstore.types import AnotherLogError
from shared.service.components import OwnLog
from shared.service.log_service import MIGRATIONS
from shared.service.readiness import database_ready
from tests.integration.eventstore.log_under_test import LogUnderTest
from tests.support.counting import add
from tests.support.databases import Databases


@pytest.mark.parametrize("verb", ["serve", "migrate"])
async def test_a_service_does_not_start_on_the_database_of_another_log(
    databases: Databases, verb: str, tmp_path: Path
) -> None:
    access = await databases.new("dependencies")
    environment = {
        **os.environ,
        "REGISTRY_DATABASE_DSN": access.app_dsn,
        "REGISTRY_OWNER_DSN": access.owner_dsn,
        "REGISTRY_HTTP_PORT": "0",
        "ESTATE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "ESTATE_KEYS_FILE": str(tmp_path / "keys.json"),
        "ESTATE_CURSOR_SECRET": "made-up-for-this-test",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.registry", verb),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 2
    assert b"the database belongs to the log dependencies, not to registry" in said
    assert b"Traceback" not in said


async def test_a_database_that_is_away_is_looked_at_later(database: DatabaseAccess) -> None:
    away = asyncpg.create_pool("postgresql://nobody@127.0.0.1:9/none", min_size=0)
    async with away as pool:
        await OwnLog(pool, "registry").start()
    async with asyncpg.create_pool(database.app_dsn, min_size=0) as pool:
        await OwnLog(pool, "registry").start()
        with pytest.raises(AnotherLogError):
            await OwnLog(pool, "dependencies").start()
        assert (await database_ready(pool, MIGRATIONS, "registry")()).ok
        with pytest.raises(AnotherLogError):
            await database_ready(pool, MIGRATIONS, "dependencies")()


async def test_the_first_command_of_a_log_that_changes_nothing_is_recorded_when_it_was_decided(
    log: LogUnderTest,
) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k", events=0))
    connection = await asyncpg.connect(log.access.app_dsn, timeout=5)
    try:
        assert await connection.fetchval(
            "SELECT clock_timestamp() - recorded_at < interval '1 minute' FROM log.commands"
        )
        assert not await connection.fetchval("SELECT isfinite(recorded_at) FROM log.head")
    finally:
        await connection.close(timeout=5)
