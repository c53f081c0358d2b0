"""Owns looking at and signalling processes by id, with a process's whole tree.

Must not signal a process by name.
"""

import contextlib
import os
import subprocess
from collections import defaultdict


def is_alive(pid: int) -> bool:
    """Whether a process of that id runs, ours or not; one that only waits to be reaped does not."""
    state = _ps("-o", "stat=", "-p", str(pid)).strip()
    return bool(state) and not state.startswith("Z")


def with_descendants(pid: int) -> list[int]:
    """The process and everything below it, parents first."""
    children = _children_of_all()
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return found


def signal_tree(pid: int, number: int) -> None:
    """Signal a process and everything below it; those already gone are passed over."""
    for member in with_descendants(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, number)


def _children_of_all() -> dict[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for line in _ps("-A", "-o", "pid=,ppid=").splitlines():
        pid, parent = line.split()
        children[int(parent)].append(int(pid))
    return children


def _ps(*arguments: str) -> str:
    # Its exit code is 1 when a process asked for does not exist.
    command = ["ps", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout  # noqa: S603
