"""Owns a PostgreSQL with a streaming standby, and how whichever of them leads is reached.

Must not be used a second time after a promotion.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from deploy.local.launcher import BackingServices, backing_services
from deploy.local.postgres_server import PostgresServer, prepare_postgres
from deploy.local.state_folder import prepare
from tests.support.eventually import eventually

_BACKUP_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Replicated:
    """Two servers. The standby is asynchronous until `make_synchronous`."""

    primary: BackingServices
    standby: BackingServices

    @property
    def dsn(self) -> str:
        """Whichever of the two is the primary, as clients are told of both."""
        parts = urlsplit(self.primary.postgres_dsn)
        other = urlsplit(self.standby.postgres_dsn).netloc.rpartition("@")[2]
        return f"postgresql://{parts.netloc},{other}{parts.path}?target_session_attrs=primary"

    async def make_synchronous(self) -> None:
        """From now on no commit is acknowledged that the standby does not have on its disk."""
        await execute(self.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await execute(self.primary, "SELECT pg_reload_conf()")

        async def is_synchronous() -> bool:
            state = "SELECT sync_state = 'sync' FROM pg_stat_replication"
            return bool(await execute(self.primary, state))

        await eventually(is_synchronous)

    async def caught_up(self) -> None:
        """Return once the standby has all that the primary has written by now."""
        end = await execute(self.primary, "SELECT pg_current_wal_lsn()")

        async def has_all() -> bool:
            return bool(await execute(self.standby, "SELECT pg_last_wal_replay_lsn() >= $1", end))

        await eventually(has_all)

    async def cut(self) -> None:
        """The standby gets nothing more."""
        await execute(self.standby, "ALTER SYSTEM SET primary_conninfo = ''")
        await execute(self.standby, "SELECT pg_reload_conf()")

        async def is_cut() -> bool:
            senders = "SELECT count(*) FROM pg_stat_replication"
            return bool(await execute(self.primary, senders) == 0)

        await eventually(is_cut)

    async def fail_over(self) -> None:
        """The primary dies and the standby takes its place."""
        await self.primary.kill_postgres()
        assert await execute(self.standby, "SELECT pg_promote()")


async def execute(
    server: BackingServices, statement: str, *arguments: object, timeout_s: float = 30.0
) -> Any:
    """Run a statement on one server, as its administrator; the first value of its answer."""
    connection = await asyncpg.connect(server.postgres_dsn, timeout=10)
    try:
        return await connection.fetchval(statement, *arguments, timeout=timeout_s)
    finally:
        connection.terminate()


@asynccontextmanager
async def replicated() -> AsyncIterator[Replicated]:
    """Run a primary and its standby; addresses in the environment must have been taken away."""
    # Not below pytest's own folder: the server's user may not enter that.
    with tempfile.TemporaryDirectory(prefix="replicated-", ignore_cleanup_errors=True) as folder:
        one, other = Path(folder) / "one", Path(folder) / "other"
        async with backing_services(one, kafka=False) as primary:
            await asyncio.to_thread(_same_password, one, other)
            await _back_up(primary, prepare_postgres(other))
            async with backing_services(other, kafka=False) as standby:
                pair = Replicated(primary, standby)
                await pair.caught_up()
                yield pair
                # Their folders go with them: nothing is worth a clean shutdown.
                await asyncio.gather(primary.kill_postgres(), standby.kill_postgres())


def _same_password(one: Path, other: Path) -> None:
    prepare(other)
    path = other / "postgres.password"
    path.write_text((one / "postgres.password").read_text())
    path.chmod(0o600)


async def _back_up(primary: BackingServices, standby: PostgresServer) -> None:
    """Make the standby's data folder, which says that it follows the primary."""
    source = urlsplit(primary.postgres_dsn)
    address = f"host={source.hostname} port={source.port} user={source.username}"
    process = await asyncio.create_subprocess_exec(
        standby.binaries / "pg_basebackup",
        *("-d", address, "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast"),
        env=os.environ | {"PGPASSWORD": unquote(source.password or ""), "LC_ALL": "C"},
        cwd=standby.folder,
        user=standby.user,
        group=standby.user,
        extra_groups=None if standby.user is None else [],
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_BACKUP_DEADLINE_S):
        _, told = await process.communicate()
    assert process.returncode == 0, told.decode()
