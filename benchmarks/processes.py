"""Owns running services, and other programs of a benchmark, as processes of their own.

Must not measure.
"""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.servers import Bench
from cli.local_estate import ServiceProcess, ensure_key
from cli.local_state import keys_path
from deploy.local.parent_death import die_with_parent
from deploy.local.state_folder import free_ports
from shared.auth.principals import Role
from shared.database.provision import DatabaseAccess

ROOT = Path(__file__).parents[1]
_SECRET = "made-up-for-benchmarks"  # noqa: S105 - signs the cursors of a throw-away estate.


@dataclass(frozen=True, slots=True)
class Serving:
    """Services that are ready, and an administrator's key to them."""

    services: Mapping[str, ServiceProcess]
    admin_key: str

    def url(self, name: str) -> str:
        return self.services[name].url

    def pid(self, name: str) -> int:
        process = self.services[name].process
        if process is None:
            raise LookupError(name)
        return process.pid


def environment(bench: Bench, name: str, database: DatabaseAccess, port: int) -> dict[str, str]:
    """How one service is configured."""
    prefix = name.upper()
    return {
        f"{prefix}_DATABASE_DSN": database.app_dsn,
        f"{prefix}_HTTP_PORT": str(port),
        "ESTATE_KEYS_FILE": str(keys_path(bench.state_dir)),
        "ESTATE_CURSOR_SECRET": _SECRET,
        "ESTATE_KAFKA_BOOTSTRAP": bench.kafka.bootstrap,
    }


@asynccontextmanager
async def serving(
    bench: Bench, databases: Mapping[str, DatabaseAccess], *, fresh_topics: bool = True
) -> AsyncIterator[Serving]:
    """Run these services; they are ready inside the block."""
    if fresh_topics:
        await forget_topics(bench)
    key = ensure_key(bench.state_dir, "admin", Role.ADMIN)
    services = {
        name: ServiceProcess(
            name,
            port,
            environment(bench, name, databases[name], port),
            bench.state_dir / f"{name}.log",
        )
        for name, port in zip(databases, free_ports(len(databases)), strict=True)
    }
    async with AsyncExitStack() as stack:
        for service in services.values():
            stack.push_async_callback(service.stop)
            await service.start()
        for service in services.values():
            await service.ready()
        yield Serving(services, key)


async def forget_topics(bench: Bench) -> None:
    """Delete every topic of the estate: another log is about to be published under its name."""
    admin = AIOKafkaAdminClient(**bench.kafka.client_options())
    await admin.start()
    try:
        async with asyncio.timeout(30):
            while left := [one for one in await admin.list_topics() if one.startswith("estate.")]:
                with contextlib.suppress(Exception):
                    await admin.delete_topics(left)
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def run_program(arguments: Sequence[str], *, deadline_s: float = 300.0) -> str:
    """Run a program to its end and return what it printed.

    Raises: RuntimeError with the end of its complaints.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(os.getpid()),
    )
    async with asyncio.timeout(deadline_s):
        out, complaints = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{arguments[0]} failed: {complaints.decode()[-2000:]}")
    return out.decode()


@asynccontextmanager
async def module_running(module: str, *arguments: str) -> AsyncIterator[str]:
    """Run a module of ours that prints its address once it serves; yield that address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(os.getpid()),
    )
    if process.stdout is None:
        raise RuntimeError("no pipe was made")
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise RuntimeError(f"{module} did not start: {line!r}")
        yield found[0]
    finally:
        process.terminate()
        await process.wait()


def find_program(name: str) -> str | None:
    """Where a program is installed, beside our Python first."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def uv_program() -> str:
    """The installer, for what is measured beside us and is no dependency of ours.

    Raises: RuntimeError.
    """
    uv = find_program("uv")
    if uv is None:
        raise RuntimeError("uv is needed to install what is measured beside us")
    return uv
