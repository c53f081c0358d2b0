"""Owns a whole estate on this machine: backing services, databases, three services, keys.

Must not hold anything of the demo; `estate up`, the demo, tests and benchmarks all run this one.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from shlex import quote
from tempfile import TemporaryFile
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson

from cli.local_state import key_path, keys_path
from deploy.local.launcher import BackingServices, backing_services
from deploy.local.parent_death import die_with_parent
from deploy.local.state_folder import free_ports, is_port_free
from shared.auth.keys import issue_key
from shared.auth.principals import Role
from shared.clock import SystemClock, new_id
from shared.database.provision import DatabaseAccess, provision
from shared.messaging.kafka import KafkaSettings, KafkaUnreachableError, list_topics
from shared.service.main import migrate_service

SERVICES: Final = ("registry", "dependencies", "notifications")
ROOT: Final = Path(__file__).parents[1]
_READY_DEADLINE_S: Final = 60.0
_STOP_DEADLINE_S: Final = 15.0


class EstateStartError(Exception):
    """The local estate did not come up; the message says why, or where to look."""


@dataclass(slots=True)
class ServiceProcess:
    """One service as a process of its own, which can be killed and started again."""

    name: str
    port: int
    environment: Mapping[str, str]
    log_path: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, failpoints: str = "") -> None:
        """Start the process; `ready` waits until it serves."""
        environment = {**os.environ, **self.environment, "ESTATE_FAILPOINTS": failpoints}
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"services.{self.name}", "serve"),
                env=environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(os.getpid()),
            )

    async def ready(self, deadline_s: float = _READY_DEADLINE_S) -> None:
        """Wait until the service says that it is ready.

        Raises: EstateStartError.
        """
        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(deadline_s):
                    while not await self._is_ready(session):
                        await asyncio.sleep(0.1)
            except TimeoutError as error:
                raise EstateStartError(f"{self.name} is not ready; see {self.log_path}") from error

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if self.process is not None and self.process.returncode is not None:
            raise EstateStartError(f"{self.name} has ended; see {self.log_path}")
        try:
            async with session.get(f"{self.url}/readyz") as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def ended(self) -> int:
        """Wait for its end; the exit code, or the number of a signal below zero."""
        return 0 if self.process is None else await self.process.wait()

    async def kill(self) -> None:
        """End the process without any warning."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask the process to end, and make it end when it does not."""
        try:
            async with asyncio.timeout(_STOP_DEADLINE_S):
                await self._end(signal.SIGTERM)
        except TimeoutError:
            await self.kill()

    async def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()


@dataclass(frozen=True, slots=True)
class LocalEstate:
    """A running estate."""

    state_dir: Path
    backing: BackingServices
    databases: Mapping[str, DatabaseAccess]
    services: Mapping[str, ServiceProcess]
    keys: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def urls(self) -> dict[str, str]:
        """The services' addresses, by name."""
        return {name: process.url for name, process in self.services.items()}

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach Kafka."""
        return KafkaSettings(**asdict(self.backing.kafka))

    def key_path(self, name: str) -> Path:
        """Where the key of a role is kept, mode 0600."""
        return key_path(self.state_dir, name)

    def ensure_key(self, name: str, role: Role, organisation: str | None = None) -> str:
        """Issue a key under a name once, and keep it in its file; return it."""
        self.keys[name] = ensure_key(self.state_dir, name, role, organisation)
        return self.keys[name]


def ensure_key(state_dir: Path, name: str, role: Role, organisation: str | None = None) -> str:
    """Issue a key under a name once, and keep it in the file of that name, mode 0600; return it."""
    path = key_path(state_dir, name)
    if path.exists():
        return path.read_text().strip()
    issued = issue_key(
        keys_path(state_dir),
        principal=name,
        roles=frozenset({role}),
        organisation=organisation,
        clock=SystemClock(),
        new_id=new_id,
    )
    write_private(path, issued.secret + "\n")
    return issued.secret


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


@asynccontextmanager
async def local_estate(
    state_dir: Path,
    *,
    on_progress: Callable[[str], None] = lambda _text: None,
    services: tuple[str, ...] = SERVICES,
    kafka_secure: bool = False,
    kafka_nodes: int = 1,
) -> AsyncIterator[LocalEstate]:
    """Run a whole estate until the context closes; the same folder resumes the same estate.

    Raises: LaunchError, EstateStartError.
    """
    state_dir = _prepared(state_dir)
    async with AsyncExitStack() as stack:
        backing = await stack.enter_async_context(
            backing_services(
                state_dir / "backing",
                kafka_secure=kafka_secure,
                kafka_nodes=kafka_nodes,
                on_progress=on_progress,
            )
        )
        await _require_kafka(KafkaSettings(**asdict(backing.kafka)))
        on_progress("Preparing the databases")
        secret = _kept_secret(state_dir / "secret")
        databases = await _databases(backing.postgres_dsn, services, secret)
        for name in services:
            await migrate_service(name, databases[name].owner_dsn)
        keys_file = keys_path(state_dir)
        processes = _processes(state_dir, backing, databases, keys_file, secret)
        estate = LocalEstate(state_dir, backing, databases, processes)
        estate.ensure_key("admin", Role.ADMIN)
        on_progress("Starting the services")
        for process in processes.values():
            stack.push_async_callback(process.stop)
            await process.start()
        write_addresses(estate)
        await asyncio.gather(*(process.ready() for process in processes.values()))
        yield estate


async def _databases(dsn: str, services: Iterable[str], secret: str) -> dict[str, DatabaseAccess]:
    try:
        return {name: await provision(dsn, name, secret) for name in services}
    except (OSError, ValueError, asyncpg.PostgresError) as error:
        # The text of an error may hold parts of the address, and so its password.
        raise EstateStartError(
            f"PostgreSQL at {_host(dsn)} cannot be used: {type(error).__name__}. If "
            "ESTATE_POSTGRES_DSN is set, see that it names an administrator of a server that "
            "answers, or unset it to have a server started here."
        ) from error


def _host(dsn: str) -> str:
    return urlsplit(dsn).netloc.rpartition("@")[2] or "its address"


async def _require_kafka(kafka: KafkaSettings) -> None:
    try:
        await list_topics(kafka)
    except KafkaUnreachableError as error:
        raise EstateStartError(
            f"Kafka at {kafka.bootstrap} does not answer: {error}. If ESTATE_KAFKA_BOOTSTRAP is "
            "set, see that it names a broker that answers, or unset it to have one started here."
        ) from error


def _processes(
    state_dir: Path,
    backing: BackingServices,
    databases: Mapping[str, DatabaseAccess],
    keys_file: Path,
    secret: str,
) -> dict[str, ServiceProcess]:
    (state_dir / "logs").mkdir(exist_ok=True)
    return {
        name: ServiceProcess(
            name,
            port,
            _environment(name, port, backing, databases[name], keys_file, secret),
            state_dir / "logs" / f"{name}.log",
        )
        for name, port in zip(databases, _kept_ports(state_dir, len(databases)), strict=True)
    }


def _environment(
    name: str,
    port: int,
    backing: BackingServices,
    database: DatabaseAccess,
    keys_file: Path,
    secret: str,
) -> dict[str, str]:
    prefix, kafka = name.upper(), backing.kafka
    given = {
        f"{prefix}_DATABASE_DSN": database.app_dsn,
        f"{prefix}_HTTP_HOST": "127.0.0.1",
        f"{prefix}_HTTP_PORT": str(port),
        "ESTATE_KEYS_FILE": str(keys_file),
        "ESTATE_CURSOR_SECRET": secret,
        "ESTATE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "ESTATE_KAFKA_SECURITY_PROTOCOL": kafka.security_protocol,
        "ESTATE_KAFKA_SASL_MECHANISM": kafka.sasl_mechanism,
        "ESTATE_KAFKA_USERNAME": kafka.username,
        "ESTATE_KAFKA_PASSWORD": kafka.password,
    }
    return {variable: value for variable, value in given.items() if value is not None}


def _prepared(state_dir: Path) -> Path:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=state_dir):
            pass
    except OSError as error:
        raise EstateStartError(
            f"Cannot write the state folder {state_dir}: {error.strerror}. Give another folder."
        ) from error
    return state_dir.resolve()


def _kept_secret(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_hex(24))
    return path.read_text()


def _kept_ports(state_dir: Path, count: int) -> list[int]:
    """Free ports; those of the last run again where they are still free."""
    path = state_dir / "addresses.json"
    kept: list[int] = []
    if path.exists():
        addresses = orjson.loads(path.read_bytes())
        kept = [int(addresses[name].rsplit(":", 1)[1]) for name in SERVICES if name in addresses]
    usable = [port for port in kept if is_port_free(port)]
    return (usable + free_ports(count))[:count]


def write_addresses(estate: LocalEstate) -> None:
    """Tell programs (`addresses.json`) and shells (`env`) where a run is reached."""
    kafka = estate.backing.kafka
    document = {
        **{name: process.url for name, process in estate.services.items()},
        "kafka": {
            "bootstrap": kafka.bootstrap,
            "security_protocol": kafka.security_protocol,
            "sasl_mechanism": kafka.sasl_mechanism,
            "username": kafka.username,
            "password": kafka.password,
        },
        "databases": {name: access.app_dsn for name, access in estate.databases.items()},
    }
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    write_private(estate.state_dir / "addresses.json", text + "\n")
    lines = [f"{name.upper()}={process.url}" for name, process in estate.services.items()]
    lines += [f"KAFKA={quote(kafka.bootstrap)}"]
    lines += [f"PATH={quote(str(Path(sys.executable).parent))}:$PATH"]
    lines += [f"KEYS={quote(str(estate.state_dir / 'keys'))}"]
    exports = "".join(f"export {line}\n" for line in lines)
    write_private(estate.state_dir / "env", "# For a shell: `. .estate/env`\n" + exports)
