"""Owns named points at which a process can be made to die, to test crashes where they hurt.

Must do nothing unless armed; production never arms one.
"""

import os
import signal

_armed: dict[str, int] = {}


def arm(specification: str) -> None:
    """Arm points from `name` or `name:n` (die at the n-th arrival), separated by commas."""
    for part in filter(None, specification.split(",")):
        name, _, arrivals = part.partition(":")
        _armed[name] = int(arrivals or 1)


def reach(name: str) -> None:
    """Kill this process without any clean-up when the point is armed and its count is used up."""
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
