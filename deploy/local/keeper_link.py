"""Owns the launcher's side of the pipe to its keeper process.

Must not start servers itself: what the keeper has not started, nobody stops.
"""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import LaunchError, last_lines
from deploy.local.server_process import JsonObject, ServerProcess, as_json, from_line, to_line

_PROJECT_ROOT = Path(__file__).parents[2]
_STOP_DEADLINE_S = 30.0


@dataclass(slots=True)
class _Exit:
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    code: int | None = None


class KeeperLink:
    """Commands to the keeper and what it tells of the servers."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._next_id = 0
        self._replies: dict[object, asyncio.Future[JsonObject]] = {}
        self._exits: dict[str, _Exit] = {}
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def open(cls, state_dir: Path) -> "KeeperLink":
        """Start a keeper for the state folder.

        Raises: LaunchError when the folder is in use or the keeper does not come up.
        """
        log = state_dir / "logs" / "keeper.log"
        process = await _spawn(state_dir / "lock", log)
        first = await _first_message(process)
        if "ready" in first:
            return cls(process, log)
        await _closed(process)
        raise LaunchError(str(first.get("held") or f"The keeper failed. {last_lines(log)}"))

    async def start(self, server: ServerProcess) -> None:
        """Start a server; returns as soon as its process runs, not when it is usable."""
        self._exits[server.name] = _Exit()
        await self._ask({"op": "start", "server": as_json(server)})

    async def run(self, server: ServerProcess) -> None:
        """Start a command and wait for its end.

        Raises: LaunchError with the end of its log when it fails.
        """
        await self.start(server)
        code = await self.ended(server.name)
        if code != 0:
            told = last_lines(Path(server.log))
            raise LaunchError(f"{server.name} failed with code {code}. {told}")

    async def stop(self, name: str, number: int | None = None) -> None:
        """Stop a server, by its own signal or the one given; returns when it has gone."""
        await self._ask({"op": "stop", "name": name, "signal": number})

    async def signal(self, name: str, number: int) -> None:
        """Send a signal to a server and go on."""
        await self._ask({"op": "signal", "name": name, "signal": number})

    def has_exited(self, name: str) -> bool:
        """Whether a server that was started has ended, by itself or not."""
        ended = self._exits.get(name)
        return ended is None or ended.happened.is_set()

    async def ended(self, name: str) -> int | None:
        """Wait until a started server's last process has gone; the exit code if that is known."""
        exit_ = self._exits[name]
        await exit_.happened.wait()
        return exit_.code

    async def close(self) -> None:
        """Close the pipe, which stops every server, and wait for the keeper's end."""
        try:
            await asyncio.wait_for(_closed(self._process), _STOP_DEADLINE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._listening

    async def _ask(self, message: JsonObject) -> None:
        self._next_id += 1
        reply = self._replies[self._next_id] = asyncio.get_running_loop().create_future()
        if self._listening.done() or self._process.stdin is None:
            raise LaunchError(f"The keeper has ended, and the servers with it. See {self._log}.")
        self._process.stdin.write(to_line(message | {"id": self._next_id}))
        answer = await reply
        if "error" in answer:
            raise LaunchError(f"{message['op']} failed: {answer['error']}")

    async def _listen(self) -> None:
        while line := await _line(self._process):
            message = from_line(line)
            reply = self._replies.pop(message.get("id"), None)
            if reply is not None and not reply.done():
                reply.set_result(message)
            elif "exited" in message:
                self._note_exit(message)
        self._note_end()

    def _note_exit(self, message: JsonObject) -> None:
        match message:
            case {"exited": str(name), "code": int(code)} if name in self._exits:
                self._exits[name].code = code
                self._exits[name].happened.set()

    def _note_end(self) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result({"error": "the keeper has ended"})
        for ended in self._exits.values():
            ended.happened.set()


async def _spawn(lock: Path, log: Path) -> asyncio.subprocess.Process:
    python_path = os.pathsep.join(filter(None, [str(_PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local.keeper"),
            *("--lock", str(lock), "--parent", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=os.environ | {"PYTHONPATH": python_path},
            start_new_session=True,
        )


async def _line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout is not None else b""


async def _first_message(process: asyncio.subprocess.Process) -> JsonObject:
    line = await _line(process)
    return from_line(line) if line else {}


async def _closed(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()
