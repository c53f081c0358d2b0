"""Owns a registry as a process of its own on servers that a test has, and what its caller was told.

Must not judge; `held` gives what there is to judge by.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from cli.local_estate import ServiceProcess, ensure_key
from cli.local_state import keys_path
from deploy.local.config import KafkaAccess
from deploy.local.state_folder import free_ports
from shared.auth.principals import Role
from shared.database.provision import DatabaseAccess, provision
from shared.messaging.kafka import KafkaSettings
from shared.service.main import migrate_service
from tests.faults.held_log import Held, faults_of_log, faults_of_topic, read_log

LOG: Final = "registry"
_COMMAND: Final = "estate.organisation.register.v1"
_ATTEMPT_S: Final = 8.0


def key_of(name: str) -> str:
    """The key that the command of a name has in the log."""
    return f"http:admin:{_COMMAND}:{name}"


@dataclass(frozen=True, slots=True)
class Told:
    """An answer; `problem` is its kind, or empty. Status 0: no whole answer came."""

    status: int
    document: Any = None

    @property
    def problem(self) -> str:
        """The kind of problem, such as `log-halted`."""
        found = self.document.get("type", "") if isinstance(self.document, dict) else ""
        return str(found).rpartition("/")[2]


@dataclass(slots=True)
class ServedRegistry:
    """A running registry; `acknowledged` has the position of each name that was accepted."""

    process: ServiceProcess
    access: DatabaseAccess
    kafka: KafkaSettings
    session: aiohttp.ClientSession
    acknowledged: dict[str, int] = field(default_factory=dict)

    async def command(self, name: str) -> Told:
        """Register an organisation, in one attempt."""
        body = {"name": f"Agency {name}", "kind": "agency", "slug": name}
        headers = {"Idempotency-Key": name}
        told = await self._ask("POST", "/v1/organisations", headers, body)
        if told.status in {200, 201}:
            (event,) = told.document["events"]
            position = int(event["position"].rpartition(":")[2].partition("@")[0])
            assert self.acknowledged.setdefault(name, position) == position
        return told

    async def settle(self, name: str) -> None:
        """The same command until it is accepted."""
        while (told := await self.command(name)).status not in {200, 201}:
            assert told.status in {0, 503}, told
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def under_load(self, workers: int) -> AsyncIterator[None]:
        """So many clients settle one command after another until the block ends."""
        stopping = asyncio.Event()

        async def work(worker: int) -> None:
            number = 0
            while not stopping.is_set():
                await self.settle(f"agency-{worker}-{number}")
                number += 1

        async with asyncio.TaskGroup() as group:
            for worker in range(workers):
                group.create_task(work(worker))
            yield
            stopping.set()

    async def get(self, path: str) -> Told:
        """Ask once."""
        return await self._ask("GET", path, {}, None)

    async def held(self) -> Held:
        """The log as it is in the database."""
        return await read_log(self.access.app_dsn, LOG)

    async def check(self) -> None:
        """The log is whole, has what was acknowledged where it was, and is what the topic holds."""
        held = await self.held()
        assert not faults_of_log(held)
        assert not await faults_of_topic(held, self.kafka)
        for name, position in self.acknowledged.items():
            assert held.by_key.get(key_of(name)) == [position], name
        assert all(len(positions) == 1 for positions in held.by_key.values())

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["ServedRegistry"]:
        """Run another process of it on the same database."""
        (port,) = free_ports(1)
        first = self.process
        environment = {**first.environment, "REGISTRY_HTTP_PORT": str(port)}
        log_path = first.log_path.with_name("registry-2.log")
        process = ServiceProcess(LOG, port, environment, log_path)
        try:
            await process.start()
            await process.ready()
            yield replace(self, process=process)
        finally:
            await process.stop()

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: Any) -> Told:
        data = None if body is None else orjson.dumps(body)
        try:
            async with self.session.request(
                method, self.process.url + path, headers=headers, data=data
            ) as response:
                return Told(response.status, orjson.loads(await response.read()))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Told(0)


@asynccontextmanager
async def serving_registry(admin_dsn: str, kafka: KafkaAccess) -> AsyncIterator[ServedRegistry]:
    """Run a registry with a database of its own on that server."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-")))
        access = await provision(admin_dsn, LOG, "made-up")
        await migrate_service(LOG, access.owner_dsn)
        key = ensure_key(folder, "admin", Role.ADMIN)
        process = _process(folder, access, kafka)
        stack.push_async_callback(process.stop)
        await process.start()
        await process.ready()
        session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_ATTEMPT_S),
        )
        await stack.enter_async_context(session)
        settings = KafkaSettings(**asdict(kafka))
        yield ServedRegistry(process, access, settings, session)


def _process(folder: Path, access: DatabaseAccess, kafka: KafkaAccess) -> ServiceProcess:
    (port,) = free_ports(1)
    environment = {
        "REGISTRY_DATABASE_DSN": access.app_dsn,
        "REGISTRY_HTTP_HOST": "127.0.0.1",
        "REGISTRY_HTTP_PORT": str(port),
        "ESTATE_KEYS_FILE": str(keys_path(folder)),
        "ESTATE_CURSOR_SECRET": "made-up-for-this-test",
        "ESTATE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "ESTATE_KAFKA_SECURITY_PROTOCOL": kafka.security_protocol,
        "ESTATE_KAFKA_SASL_MECHANISM": kafka.sasl_mechanism or "",
        "ESTATE_KAFKA_USERNAME": kafka.username or "",
        "ESTATE_KAFKA_PASSWORD": kafka.password or "",
    }
    given = {variable: value for variable, value in environment.items() if value}
    return ServiceProcess(LOG, port, given, folder / "registry.log")
