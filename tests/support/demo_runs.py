"""Owns running `estate demo` as a person does: started, watched, interrupted, killed.

Must not leave a process behind, and must not look inside.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.local_state import read_addresses
from deploy.local.process_table import with_descendants
from tests.support.asking import Asker, asking
from tests.support.eventually import eventually

ROOT: Final = Path(__file__).parents[2]
ESTATE: Final = Path(sys.executable).parent / "estate"
GIVEN_SERVERS: Final = ("ESTATE_POSTGRES_DSN", "ESTATE_KAFKA_BOOTSTRAP")
DEADLINE_S: Final = 240.0
_ENDED_WITHIN_S: Final = 60.0
_IMPORTED: Final = re.compile(r"Import \S+ .* (\d+)/\1 +(\d+):(\d\d):(\d\d)")


@contextmanager
def state_folder() -> Iterator[Path]:
    """A folder for an estate; not below pytest's own, which the server's user may not enter.

    Its name is one that a shell would take apart.
    """
    with tempfile.TemporaryDirectory(prefix="estate's e2e $", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass
class DemoRun:
    """One run of the demo on a state folder."""

    state: Path
    outputs: Path
    process: asyncio.subprocess.Process
    processes: set[int] = field(default_factory=set)

    @cached_property
    def report(self) -> dict[str, Any]:
        """What it wrote with --report."""
        report: dict[str, Any] = json.loads((self.outputs / "report.json").read_bytes())
        return report

    @property
    def shown(self) -> str:
        """What it printed on stdout."""
        return (self.outputs / "stdout").read_text()

    @property
    def progress(self) -> str:
        """What it printed on stderr."""
        return (self.outputs / "stderr").read_text()

    def told(self) -> str:
        """All that is known of how it went: for a test that has failed."""
        logs = sorted((self.state / "logs").glob("*.log"))
        tails = [f"{log.name}\n{log.read_text()[-2_000:]}" for log in logs]
        return "\n".join([f"exit code {self.process.returncode}", self.progress, *tails])

    @property
    def import_s(self) -> int:
        """How long its imports took by its own bars, in whole seconds."""
        times = [one.groups()[1:] for one in _IMPORTED.finditer(self.progress)]
        assert times, self.progress
        return max(3600 * int(h) + 60 * int(m) + int(s) for h, m, s in times)

    def note_processes(self) -> None:
        """Remember everything that runs below it now."""
        self.processes.update(with_descendants(self.process.pid))

    async def wait(self) -> int:
        """Wait for its end, and for the end of everything below it."""
        while self.process.returncode is None:
            self.note_processes()
            try:
                async with asyncio.timeout(0.5):
                    await self.process.wait()
            except TimeoutError:
                continue
        await eventually(lambda: not alive(self.processes), _ENDED_WITHIN_S)
        assert not processes_naming(self.state)
        return int(self.process.returncode)

    async def interrupt(self) -> int:
        """Press Ctrl-C and wait as `wait` does."""
        self.note_processes()
        self.process.send_signal(signal.SIGINT)
        return await self.wait()

    async def kill(self) -> int:
        """End it without any warning and wait as `wait` does."""
        self.note_processes()
        self.process.kill()
        return await self.wait()

    async def keeps_running(self) -> None:
        """Wait until it has answered everything and says that it stays."""
        await eventually(self._stays, DEADLINE_S)

    def has_an_operator(self) -> bool:
        """Whether its services answer to an operator's key, which the import begins with."""
        assert self.process.returncode is None, self.progress
        return (self.state / "keys" / "operator.key").exists()

    def _stays(self) -> bool:
        assert self.process.returncode is None, self.progress
        return "It keeps running." in self.progress


@asynccontextmanager
async def demo(state: Path, *options: str) -> AsyncIterator[DemoRun]:
    """Start the demo on a state folder; what still runs at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="estate-e2e-outputs-") as folder:
        outputs = Path(folder)
        with (outputs / "stdout").open("wb") as stdout, (outputs / "stderr").open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(str(ESTATE), "demo", "--state", str(state)),
                *("--report", str(outputs / "report.json"), *options),
                cwd=ROOT,
                env=own_servers(),
                stdout=stdout,
                stderr=stderr,
            )
        run = DemoRun(state, outputs, process)
        try:
            yield run
        finally:
            if process.returncode is None:
                await run.kill()


@asynccontextmanager
async def finished_demo(state: Path, *options: str) -> AsyncIterator[DemoRun]:
    """Run the demo to its end, which must be a good one."""
    async with demo(state, "--exit", *options) as run:
        async with asyncio.timeout(DEADLINE_S):
            code = await run.wait()
        assert code == 0, run.progress
        yield run


@asynccontextmanager
async def running_demo(state: Path, *options: str) -> AsyncIterator[DemoRun]:
    """Run the demo and leave it running; it must end well at Ctrl-C."""
    async with demo(state, *options) as run:
        await run.keeps_running()
        yield run
        assert await run.interrupt() == 0, run.progress


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """The demo ran to its end, and then again on the same state, where it stays."""

    first: DemoRun
    again: DemoRun

    @property
    def state(self) -> Path:
        """The state folder of both."""
        return self.again.state

    def superuser_dsn(self, service: str) -> str:
        """The service's database, as whoever runs the database server."""
        address = read_addresses(self.state).databases[service]
        password = (self.state / "backing" / "postgres.password").read_text()
        return f"postgresql://postgres:{password}@{address.rpartition('@')[2]}"


def asking_run(run: DemoRun) -> AbstractAsyncContextManager[Asker]:
    """Ask a run that is there, as its operator."""
    addresses = read_addresses(run.state).model_dump()
    return asking(addresses, (run.state / "keys" / "operator.key").read_text().strip())


def own_servers() -> dict[str, str]:
    """This environment without servers that others may use too."""
    return {name: value for name, value in os.environ.items() if name not in GIVEN_SERVERS}


def processes_naming(state: Path) -> list[int]:
    """The processes whose command names something in a state folder; this one is none of them."""
    return [one.pid for one in _running() if f"{state}/" in one.command and one.pid != os.getpid()]


def alive(processes: Iterable[int]) -> set[int]:
    """Those that still run; one that only waits to be reaped does not."""
    return set(processes) & {one.pid for one in _running()}


class _Running(NamedTuple):
    pid: int
    command: str


def _running() -> list[_Running]:
    command = ["ps", "-A", "-ww", "-o", "pid=,stat=,command="]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    lines = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [_Running(int(one[0]), one[-1]) for one in lines if not one[1].startswith("Z")]
