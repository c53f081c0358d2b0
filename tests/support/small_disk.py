"""Owns a PostgreSQL whose data is on a small file system of its own, which can be filled.

Must not need privileges: the file system is one of memory, in a namespace of the server's own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deploy.local.keeper_link import KeeperLink
from deploy.local.postgres_server import PostgresServer, prepare_postgres
from deploy.local.readiness import postgres_usable
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
: > "$2/ballast"
echo $$ > "$4"
shift 4
exec unshare --user --map-user=1000 --map-group=1000 \
    sh -c 'while :; do "$@" || :; sleep 0.5; done' sh "$@"
"""
_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_SETTINGS: Final = ("shared_buffers=16MB", "max_wal_size=48MB", "min_wal_size=32MB")
_START_S: Final = 60.0
_CHUNKS: Final = (1024**2, 4096)


class NoSmallDiskError(Exception):
    """This machine gives no namespace in which a file system can be mounted."""


@dataclass(frozen=True)
class SmallDisk:
    """A running server. `fill` takes all the space that is left on its disk."""

    dsn: str
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
    await asyncio.to_thread(_require_namespace)
    # Not below pytest's own folder: the server's user may not enter that.
    with tempfile.TemporaryDirectory(prefix="small-", ignore_cleanup_errors=True) as folder:
        state = prepare(Path(folder))
        server = prepare_postgres(state)
        keeper = await KeeperLink.open(state)
        try:
            await server.initialise(keeper)
            process = _on_small_disk(server)
            await keeper.start(process)
            await postgres_usable(server.dsn, lambda: keeper.has_exited(process.name), _START_S)
            pid = int((server.folder / "pid").read_text())
            yield SmallDisk(server.dsn, Path(f"/proc/{pid}/root/{server.folder}/small/ballast"))
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


def _on_small_disk(server: PostgresServer) -> ServerProcess:
    small = server.folder / "small"
    (server.folder / "small").mkdir(mode=0o755)
    plain = server.server()
    command = [f"{small}/data" if part == str(server.data) else part for part in plain.argv]
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    places = [_SIZE, str(small), str(server.data), str(server.folder / "pid")]
    argv = [*_NAMESPACE, "sh", "-c", _ON_SMALL_DISK, "sh", *places, *command, *settings]
    return replace(plain, argv=argv, stop_signal=signal.SIGKILL)
