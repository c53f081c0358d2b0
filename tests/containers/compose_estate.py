"""Owns an estate of docker-compose.yml under a name, ports and secrets of its own.

Must reach it only as somebody outside does: published ports and the docker command.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import aiohttp
import orjson

from deploy.compose.make_env import write_env
from tests.containers.servers import free_port

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("registry", "dependencies", "notifications")
_REQUEST_DEADLINE: Final = aiohttp.ClientTimeout(total=15)


class ComposeError(Exception):
    """A docker command failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class ComposeEstate:
    """A running estate."""

    project: str
    env_file: Path
    ports: dict[str, int]

    async def compose(self, *arguments: str) -> str:
        """Run `docker compose`; what it wrote to stdout. Raises: ComposeError."""
        chosen = {f"ESTATE_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        process = await asyncio.create_subprocess_exec(
            *("docker", "compose", "--project-name", self.project),
            *("--env-file", str(self.env_file), *arguments),
            cwd=ROOT,
            env={**os.environ, **chosen},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode != 0:
            said = (output + errors).decode(errors="replace")
            raise ComposeError(f"{' '.join(arguments)}: {said[-3000:]}")
        return output.decode()

    async def state(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each container that is there for good, by service."""
        lines = (await self.compose("ps", "--all", "--format", "json")).splitlines()
        containers = [orjson.loads(line) for line in lines]
        lasting = {*SERVICES, "postgres", "kafka"}
        return {one["Service"]: one for one in containers if one["Service"] in lasting}

    async def all_healthy(self) -> bool:
        """Whether everything runs that is there for good, and says that it is well."""
        containers = await self.state()
        return len(containers) == 5 and all(
            one["Health"] == "healthy" for one in containers.values()
        )

    async def issue_key(self, *options: str) -> str:
        """A new key, through the command line's container."""
        run = ("run", "--rm", "--no-deps", "--no-TTY", "estate", "keys", "issue")
        return (await self.compose(*run, *options)).strip()

    @property
    def kafka(self) -> str:
        """The external listener."""
        return f"127.0.0.1:{self.ports['kafka']}"

    def url(self, service: str, path: str) -> str:
        """An address of a service."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    async def ask(
        self, key: str, service: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        """GET, or POST where there is a body; 0 when nothing answers."""
        headers = {"Authorization": f"Bearer {key}"}
        method = "GET" if body is None else "POST"
        try:
            async with (
                aiohttp.ClientSession(timeout=_REQUEST_DEADLINE) as session,
                session.request(
                    method, self.url(service, path), json=body, headers=headers
                ) as response,
            ):
                return response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 0, str(error)


@asynccontextmanager
async def made_up_estate(folder: Path) -> AsyncIterator[ComposeEstate]:
    """Choose it, start nothing, and leave nothing of it behind."""
    env_file = folder / "estate.env"
    write_env(env_file)
    ports = {name: free_port() for name in (*SERVICES, "kafka")}
    estate = ComposeEstate(f"estate-test-{token_hex(4)}", env_file, ports)
    try:
        yield estate
    finally:
        await estate.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")


@asynccontextmanager
async def running_estate(folder: Path) -> AsyncIterator[ComposeEstate]:
    """Build it, start it from nothing, and leave nothing of it behind."""
    async with made_up_estate(folder) as estate:
        try:
            await estate.compose("up", "--build", "--wait", "--wait-timeout", "300")
        except ComposeError as error:
            logs = await estate.compose("logs", "--no-color", "--tail", "25")
            raise ComposeError(f"{error}\n{logs}") from error
        yield estate
