"""Owns servers whose data is on a small file system of their own, which can be filled.

Must not need privileges: the file system is one of memory, in a namespace of the server's own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from deploy.local.config import from_environment
from deploy.local.kafka_cluster import prepare_cluster
from deploy.local.keeper_link import KeeperLink
from deploy.local.postgres_server import prepare_postgres
from deploy.local.readiness import kafka_usable, postgres_usable
from deploy.local.server_process import ServerProcess
from deploy.local.state_folder import prepare
from deploy.local.system_user import server_user

_SIZE: Final = "160m"
# A mount needs the namespace's root, which PostgreSQL refuses to be: hence a second namespace.
# The server is started again when it ends, as whatever keeps it would do.
_ON_SMALL_DISK: Final = """
set -e
mount -t tmpfs -o size=$1,mode=700 small "$2"
cp -a "$3" "$2/data"
mount --bind "$2/data" "$3"
: > "$2/ballast"
echo $$ > "$4"
shift 4
exec unshare --user --map-user=1000 --map-group=1000 \
    sh -c 'while :; do "$@" || :; sleep 0.5; done' sh "$@"
"""
_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_SETTINGS: Final = (
    *("-c", "shared_buffers=16MB"),
    *("-c", "max_wal_size=48MB"),
    *("-c", "min_wal_size=32MB"),
)
_START_S: Final = 60.0
_CHUNKS: Final = (1024**2, 4096)


class NoSmallDiskError(Exception):
    """This machine gives no namespace in which a file system can be mounted."""


@dataclass(frozen=True)
class SmallDisk:
    """A running server: the DSN of PostgreSQL, the bootstrap address of Kafka.

    `fill` takes all the space that is left on its disk.
    """

    address: str
    ballast: Path

    def fill(self) -> None:
        """Leave no space. Blocking."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in _CHUNKS:
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def give_back(self) -> None:
        """Let the disk have its space again."""
        os.truncate(self.ballast, 0)


@asynccontextmanager
async def postgres_on_small_disk() -> AsyncIterator[SmallDisk]:
    """Run one; its data is gone with it.

    Raises: NoSmallDiskError.
    """
    async with _kept() as (state, keeper):
        postgres = prepare_postgres(state)
        await postgres.initialise(keeper)
        server = postgres.server()
        await _start(keeper, server, postgres.data, _SETTINGS)
        ended = partial(keeper.has_exited, server.name)
        await postgres_usable(postgres.dsn, ended, _START_S)
        yield SmallDisk(postgres.dsn, _ballast(postgres.data))


@asynccontextmanager
async def kafka_on_small_disk() -> AsyncIterator[SmallDisk]:
    """Run a broker; its topics are gone with it.

    Raises: NoSmallDiskError.
    """
    async with _kept() as (state, keeper):
        cluster = await prepare_cluster(
            state, from_environment(), count=1, secure=False, on_progress=lambda _: None
        )
        node = cluster.node(1)
        await cluster.format(node, keeper)
        server, data = cluster.server(node), node.folder / "data"
        await _start(keeper, server, data)
        ended = partial(keeper.has_exited, server.name)
        await kafka_usable(cluster.access, {node.number}, ended, _START_S)
        yield SmallDisk(cluster.access.bootstrap, _ballast(data))


@asynccontextmanager
async def _kept() -> AsyncIterator[tuple[Path, KeeperLink]]:
    """A state folder and the keeper of its servers."""
    await asyncio.to_thread(_require_namespace)
    # Not below pytest's own folder: the server's user may not enter that.
    with tempfile.TemporaryDirectory(prefix="small-", ignore_cleanup_errors=True) as folder:
        state = prepare(Path(folder))
        keeper = await KeeperLink.open(state)
        try:
            yield state, keeper
        finally:
            await keeper.close()


def _require_namespace() -> None:
    if shutil.which("unshare") is None:
        raise NoSmallDiskError("there is no `unshare`")
    mount = ("sh", "-c", "mount -t tmpfs small /mnt && unshare --user --map-user=1000 true")
    user = server_user()
    tried = subprocess.run(  # noqa: S603 - constant arguments.
        [*_NAMESPACE, *mount],
        check=False,
        capture_output=True,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    if tried.returncode != 0:
        raise NoSmallDiskError(tried.stderr.strip())


async def _start(
    keeper: KeeperLink, server: ServerProcess, data: Path, settings: Sequence[str] = ()
) -> None:
    """Start a server with its data on a small disk."""
    small, pid = data.with_name("small"), data.with_name("pid")
    small.mkdir(mode=0o755)
    places = [_SIZE, str(small), str(data), str(pid)]
    argv = [*_NAMESPACE, "sh", "-c", _ON_SMALL_DISK, "sh", *places, *server.argv, *settings]
    await keeper.start(replace(server, argv=argv, stop_signal=signal.SIGKILL))


def _ballast(data: Path) -> Path:
    """What fills the small disk of a server that runs, seen from outside its namespace."""
    pid = int(data.with_name("pid").read_text())
    return Path(f"/proc/{pid}/root/{data.with_name('small')}/ballast")
