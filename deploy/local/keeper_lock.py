"""Owns the lock of a state folder: one keeper at a time, and who that is.

Must not be released while a server lives: servers inherit the open file.
"""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from deploy.local.process_table import is_alive
from deploy.local.server_process import JsonObject

_LEFTOVER_DEADLINE_S = 20.0
_RETRY_INTERVAL_S = 0.1


class LockHeldError(Exception):
    """Another launcher uses the state folder, or servers of a dead one still run."""


def hold_lock(path: Path, parent: int) -> int:
    """Take the lock; the open file that holds it.

    A living holder is refused at once. One whose launcher has died is given time to stop its
    servers, which is what its keeper is doing just then.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LEFTOVER_DEADLINE_S
    while not _try_lock(fd):
        holder = _holder(fd)
        if _lives(holder) or time.monotonic() > deadline:
            raise LockHeldError(_told(path.parent, holder))
        time.sleep(_RETRY_INTERVAL_S)
    _write(fd, {"launcher": parent, "keeper": os.getpid(), "servers": {}})
    return fd


def note_servers(fd: int, servers: dict[str, int]) -> None:
    """Write down the process ids, for the person who finds the folder locked."""
    _write(fd, _holder(fd) | {"servers": servers})


def _try_lock(fd: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _lives(holder: JsonObject) -> bool:
    launcher = holder.get("launcher")
    return isinstance(launcher, int) and is_alive(launcher)


def _told(folder: Path, holder: JsonObject) -> str:
    if _lives(holder):
        return (
            f"{folder} is in use by process {holder['launcher']}. "
            f"Stop it first (Ctrl-C there, or `kill {holder['launcher']}`), "
            "or give another state folder."
        )
    return (
        f"Servers of an earlier run still use {folder}: {holder.get('servers')}. "
        "End those processes by id (`kill <pid>`), then start again."
    )


def _holder(fd: int) -> JsonObject:
    with contextlib.suppress(ValueError):
        content = json.loads(os.pread(fd, 65536, 0))
        if isinstance(content, dict):
            return content
    return {}


def _write(fd: int, content: JsonObject) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(content).encode(), 0)
