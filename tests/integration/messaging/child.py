"""A child process that reports JSON lines, and can be killed, frozen and woken."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

_ROOT = Path(__file__).parents[3]


class Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.reports: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    @property
    def last(self) -> dict[str, Any]:
        return self.reports[-1] if self.reports else {}

    async def until(
        self, condition: Callable[[dict[str, Any]], bool], deadline_s: float = 40.0
    ) -> None:
        async with asyncio.timeout(deadline_s):
            while not condition(self.last):
                assert self._process.returncode is None, "the child ended"
                await asyncio.sleep(0.02)

    async def died(self, deadline_s: float = 30.0) -> None:
        """Wait until it has killed itself at a failpoint."""
        async with asyncio.timeout(deadline_s):
            assert await self._process.wait() == -signal.SIGKILL

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self.reports.append(orjson.loads(line))


@asynccontextmanager
async def child(module: str, **options: object) -> AsyncIterator[Child]:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    running = Child(process)
    try:
        yield running
    finally:
        await running.end()
