"""Owns the estate that faults are put upon, and a second registry process beside it.

Must not judge; it can say whether all is well again, and how long that took.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
import asyncpg
import orjson

from cli.local_estate import LocalEstate, ServiceProcess, local_estate
from deploy.local.state_folder import free_ports
from shared.auth.principals import Role
from shared.contracts.names import parse_positions
from tests.faults.ledger import Ledger, Request
from tests.faults.load import Place
from tests.faults.sending import Ending, Sender

LOGS: Final = ("registry", "dependencies")
READS: Final = {
    "registry": "/v1/services?limit=1",
    "dependencies": "/v1/dependencies?limit=1",
    "notifications": "/v1/changes?limit=1",
}
"""A read of each service; each answer says which positions it reflects."""
_HEALTHY_DEADLINE_S: Final = 150.0


class NotHealthyError(Exception):
    """The estate did not come back by itself; the message says what is missing."""


@dataclass(slots=True)
class World:
    """A running estate with an organisation that submits, and the client's ledger."""

    estate: LocalEstate
    ledger: Ledger
    organisation: str
    urls: dict[str, list[str]] = field(default_factory=dict)
    further: int = 0

    @property
    def place(self) -> Place:
        """Where a load goes."""
        return Place(
            self.urls,
            self.estate.keys,
            self.estate.kafka,
            self.organisation,
            self.ledger,
            self.estate.state_dir / "feed.jsonl",
            self.estate.state_dir / "stream.jsonl",
            secrets_of(self.estate.state_dir),
        )

    async def second_registry(self) -> ServiceProcess:
        """Start another process of the registry on the same database, and send to both."""
        first = self.estate.services["registry"]
        (port,) = free_ports(1)
        environment = {**first.environment, "REGISTRY_HTTP_PORT": str(port)}
        log_path = first.log_path.with_name("registry-2.log")
        second = ServiceProcess("registry", port, environment, log_path)
        await second.start()
        await second.ready()
        self.urls["registry"].append(second.url)
        return second

    async def end_second(self, second: ServiceProcess) -> None:
        """Stop it, and send to the first alone again."""
        self.urls["registry"].remove(second.url)
        await second.stop()

    async def heads(self) -> dict[str, int]:
        """Where each log ends."""
        return {log: await head_of(self.estate.databases[log].app_dsn) for log in LOGS}

    async def checks(self, service: str) -> dict[str, str]:
        """What a service says of its parts; empty while it does not answer."""
        async with aiohttp.ClientSession() as session:
            _, document = await _asked(session, f"{self.estate.services[service].url}/readyz", None)
        checks = {} if document is None else document["checks"]
        return {name: found["detail"] for name, found in checks.items()}

    async def healthy(self, since: float, deadline_s: float = _HEALTHY_DEADLINE_S) -> float:
        """Wait until all are ready and what was in the logs can be read everywhere; seconds.

        Raises: NotHealthyError.
        """
        missing = "databases"
        try:
            async with asyncio.timeout(deadline_s), aiohttp.ClientSession() as session:
                heads = await self._heads_at_last()
                while missing := await self._missing(session, heads):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotHealthyError(f"after {deadline_s:g} s: {missing}") from None
        return time.monotonic() - since

    async def _heads_at_last(self) -> dict[str, int]:
        while True:
            try:
                return await self.heads()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.1)

    async def _missing(self, session: aiohttp.ClientSession, heads: Mapping[str, int]) -> str:
        for service, path in READS.items():
            url = self.estate.services[service].url
            ready, _ = await _asked(session, f"{url}/readyz", None)
            if ready != 200:
                return f"{service} is not ready"
            status, document = await _asked(session, url + path, self.estate.keys["admin"])
            if status != 200:
                return f"{service} answers {status}"
            reflected = {p.log: p.position for p in parse_positions(document["positions"])}
            behind = [log for log in reflected if reflected[log] < heads[log]]
            if behind:
                return f"{service} is behind in {behind}: {reflected} of {dict(heads)}"
        return ""


async def _asked(session: aiohttp.ClientSession, url: str, key: str | None) -> tuple[int, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with session.get(url, headers=headers, timeout=timeout) as response:
            return response.status, orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return 0, None


async def head_of(dsn: str) -> int:
    """The last position of the log in a database."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        position: int = await connection.fetchval("SELECT position FROM log.head", timeout=5)
        return position
    finally:
        connection.terminate()


def secrets_of(state: Path) -> tuple[str, ...]:
    """What must be in no log file and in no answer: keys, passwords, the cursors' secret."""
    addresses = orjson.loads((state / "addresses.json").read_bytes())
    found = {path.read_text().strip() for path in (state / "keys").glob("*.key")}
    found.add((state / "secret").read_text().strip())
    found.add(addresses["kafka"]["password"] or "")
    for dsn in addresses["databases"].values():
        found.add(unquote(urlsplit(dsn).password or ""))
    return tuple(sorted(found - {""}))


@asynccontextmanager
async def running_world(state: Path, *, brokers: int = 1) -> AsyncIterator[World]:
    """Run an estate with an organisation whose key and topics are in use."""
    ledger = Ledger(state / "ledger.jsonl")
    try:
        async with local_estate(state, kafka_nodes=brokers) as estate:
            world = World(estate, ledger, "")
            world.urls = {name: [url] for name, url in estate.urls.items()}
            estate.ensure_key("admin", Role.ADMIN)
            world.organisation = await _organisation(world)
            estate.ensure_key("emitter", Role.EMITTER, world.organisation)
            await world.healthy(time.monotonic())
            yield world
    finally:
        ledger.close()


async def _organisation(world: World) -> str:
    """The organisation that submits; its key and body are the same each time."""
    name, command = "the-submitting-one", "estate.organisation.register.v1"
    body = {"name": "Submitting Agency", "kind": "agency", "slug": "submitting-agency"}
    request = Request(
        f"http:admin:{command}:{name}", "registry", "http", "admin", "/v1/organisations", name, body
    )
    async with aiohttp.ClientSession() as session:
        place = world.place
        ending = Ending(asyncio.get_running_loop().time() + 30)
        sender = Sender(
            session,
            world.urls,
            place.keys,
            world.ledger,
            random.Random(0),  # noqa: S311 - as above.
            ending,
        )
        answer = await sender.settle(request, twice=True)
    assert answer is not None, "the estate takes no command"
    return str(answer["id"])
