"""Owns the layout of a state folder: secrets, what was chosen at its first start, room on disk.

Must not start anything.
"""

import json
import os
import random
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import LaunchError

_NEEDED_BYTES = 1024**3
_LOG_KEPT_BYTES = 8 * 1024**2
_PORT_ATTEMPTS = 200

# Below the ports that systems give to outgoing connections: a client that keeps dialling a
# stopped server on such a port can end up connected to itself, and then the port is taken.
_PORTS = range(20000, 32000)


def prepare(state_dir: Path) -> Path:
    """Make the folder and its `logs`; its absolute path.

    Raises: LaunchError when it cannot be written or the disk is nearly full.
    """
    folder = state_dir.expanduser().absolute()
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            f"Cannot write the state folder {folder}: {error.strerror}. Give another folder."
        ) from error
    free = shutil.disk_usage(folder).free
    if free < _NEEDED_BYTES:
        raise LaunchError(
            f"Only {free // 1024**2} MiB are free where {folder} is; PostgreSQL and Kafka need "
            f"{_NEEDED_BYTES // 1024**2} MiB. Free some room, or give a folder on another disk."
        )
    return folder


def log_file(folder: Path, name: str) -> Path:
    """Where a server logs; a log grown large is put aside, one generation."""
    log = folder / "logs" / f"{name}.log"
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.replace(log.with_suffix(".old.log"))
    return log


def secret(folder: Path, name: str) -> str:
    """A random password, made once, readable by its owner only."""
    path = folder / f"{name}.password"
    if not path.exists():
        _write_whole(path, secrets.token_urlsafe(24))
    return path.read_text()


def choice(path: Path, wanted: Mapping[str, object]) -> dict[str, object]:
    """What was chosen at the first start of a folder; `wanted` when this is the first."""
    if not path.exists():
        _write_whole(path, json.dumps(dict(wanted)))
    chosen: dict[str, object] = json.loads(path.read_text())
    return chosen


def _write_whole(path: Path, text: str) -> None:
    """The file is there with all of its text or not at all, whatever happens meanwhile."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now, all different."""
    found: set[int] = set()
    candidates = random.sample(_PORTS, _PORT_ATTEMPTS)
    for port in candidates:
        if len(found) < count and is_port_free(port):
            found.add(port)
    if len(found) < count:
        raise LaunchError(
            f"No {count} free ports were found on 127.0.0.1 between {_PORTS.start} and "
            f"{_PORTS.stop}. Stop something that listens there."
        )
    return list(found)


def is_port_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
