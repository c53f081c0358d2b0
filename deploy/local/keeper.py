"""Owns the servers as its children: whoever started the keeper may die, the servers end with it.

Must not import anything but the standard library, nor decide what to start.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from deploy.local.keeper_lock import LockHeldError, hold_lock, note_servers
from deploy.local.parent_death import die_with_parent
from deploy.local.process_table import signal_tree
from deploy.local.server_process import JsonObject, ServerProcess, from_line, to_line

_PARENT_CHECK_INTERVAL_S = 1.0
_GONE_AFTER_KILL_S = 5.0


@dataclass(slots=True)
class _Running:
    spec: ServerProcess
    process: asyncio.subprocess.Process
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Keeper:
    """Starts, signals and stops servers; knows when the last process of each has gone."""

    def __init__(self, lock_fd: int) -> None:
        self._lock_fd = lock_fd
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, spec: ServerProcess) -> int:
        """Start a server; its process id.

        The child holds the write end of a pipe and the state folder's lock: the pipe tells when
        its last descendant is gone, the lock keeps others away for as long as one of them lives.
        """
        if spec.name in self._running:
            raise ValueError(f"{spec.name} runs already")
        alive_read, alive_write = os.pipe()
        try:
            process = await self._spawn(spec, alive_write)
        except BaseException:
            os.close(alive_read)
            raise
        finally:
            os.close(alive_write)
        running = self._running[spec.name] = _Running(spec, process)
        self._note_servers()
        self._background(self._watch(running, alive_read))
        return process.pid

    async def _spawn(self, spec: ServerProcess, alive_write: int) -> asyncio.subprocess.Process:
        environment = {k: v for k, v in os.environ.items() if k not in spec.unset_env}
        with Path(spec.log).open("ab") as log:  # noqa: ASYNC230 - nothing else waits here.
            return await asyncio.create_subprocess_exec(
                *spec.argv,
                cwd=spec.cwd,
                env=environment | spec.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(alive_write, self._lock_fd),
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
                **_identity(spec.user),
            )

    async def _watch(self, running: _Running, alive_read: int) -> None:
        code = await running.process.wait()
        await _end_of_file(alive_read)
        running.gone.set()
        if self._running.get(running.spec.name) is running:
            del self._running[running.spec.name]
            self._note_servers()
        _say({"exited": running.spec.name, "pid": running.process.pid, "code": code})

    async def stop(self, name: str, number: int | None = None) -> None:
        """Stop a server and wait until its last process is gone; SIGKILL after its deadline."""
        running = self._running.get(name)
        if running is None:
            return
        number = running.spec.stop_signal if number is None else number
        self.signal(name, number)
        if number != signal.SIGKILL:
            self.signal(name, signal.SIGCONT)  # A frozen server would never see the first one.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.gone.wait(), running.spec.stop_deadline_s)
            return
        self.signal(name, signal.SIGKILL)
        await asyncio.wait_for(running.gone.wait(), _GONE_AFTER_KILL_S)

    def signal(self, name: str, number: int) -> None:
        """Send a signal: those nobody can catch go to the whole tree, others to the server."""
        running = self._running.get(name)
        if running is None or running.process.returncode is not None:
            return
        if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
            signal_tree(running.process.pid, number)
        else:
            running.process.send_signal(number)

    async def stop_all(self) -> None:
        """Stop every server at once, each by its own signal and deadline."""
        names = list(self._running)
        await asyncio.gather(*(self.stop(name) for name in names), return_exceptions=True)

    def handle(self, message: JsonObject) -> None:
        """Obey one message without holding up the next; the answer bears the message's id."""
        self._background(self._answer(message))

    async def _answer(self, message: JsonObject) -> None:
        reply: JsonObject = {"id": message.get("id")}
        try:
            reply["pid"] = await self._obey(message)
        except Exception as error:  # noqa: BLE001 - it is told to the launcher.
            reply["error"] = f"{type(error).__name__}: {error}"
        _say(reply)

    async def _obey(self, message: JsonObject) -> int | None:
        match message:
            case {"op": "start", "server": dict(server)}:
                return await self.start(ServerProcess(**server))
            case {"op": "stop", "name": str(name), "signal": int() | None as number}:
                await self.stop(name, number)
            case {"op": "signal", "name": str(name), "signal": int(number)}:
                self.signal(name, number)
            case _:
                raise ValueError(f"not understood: {message}")
        return None

    def _note_servers(self) -> None:
        note_servers(self._lock_fd, {n: r.process.pid for n, r in self._running.items()})

    def _background(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Identity(TypedDict, total=False):
    user: str
    group: str
    extra_groups: list[str | int]


def _identity(user: str | None) -> _Identity:
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _say(message: JsonObject) -> None:
    with contextlib.suppress(OSError):  # The launcher is gone; the servers are stopped anyway.
        os.write(sys.stdout.fileno(), to_line(message))


async def _pipe_reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    return reader, transport


async def _end_of_file(fd: int) -> None:
    reader, transport = await _pipe_reader(fd)
    await reader.read()
    transport.close()


async def _obey_until_end_of_file(keeper: Keeper) -> None:
    reader, _ = await _pipe_reader(os.dup(sys.stdin.fileno()))
    while line := await reader.readline():
        keeper.handle(from_line(line))


async def _until_parent_changes(parent: int) -> None:
    """A fork of the parent may hold the pipe open after the parent's death: look as well."""
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_INTERVAL_S)


async def _keep(lock_fd: int, parent: int) -> None:
    keeper = Keeper(lock_fd)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    reasons = [
        loop.create_task(_obey_until_end_of_file(keeper)),
        loop.create_task(_until_parent_changes(parent)),
        loop.create_task(_wait(stopping)),
    ]
    _say({"ready": os.getpid()})
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    await keeper.stop_all()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def main() -> None:
    """Take the state folder's lock, then keep servers until the launcher's pipe closes."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.keeper")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # A terminal's Ctrl-C is the launcher's to handle.
    try:
        lock_fd = hold_lock(arguments.lock, arguments.parent)
    except LockHeldError as error:
        _say({"held": str(error)})
        sys.exit(3)
    asyncio.run(_keep(lock_fd, arguments.parent))


if __name__ == "__main__":
    main()
