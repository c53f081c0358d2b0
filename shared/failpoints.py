"""Owns named points at which a process can be made to die, to test crashes where they hurt.

Must do nothing unless armed; production never arms one.
"""

import os
import signal
from typing import Final, Literal, get_args

Point = Literal[
    "append.decided",
    "append.before_commit",
    "append.after_commit",
    "feed.read",
    "intake.read",
    "intake.committed",
    "intake.offset_stored",
    "projector.before_commit",
    "projector.after_commit",
    "rebuild.copying",
    "rebuild.before_flip",
    "rebuild.inside_flip",
    "rebuild.after_flip",
    "relay.read",
    "relay.barrier",
    "relay.acknowledged",
    "relay.sent",
    "stream.sent",
]
"""Every point there is: the type checker refuses a call of `reach` with any other."""
POINTS: Final[tuple[Point, ...]] = get_args(Point)

_armed: dict[Point, int] = {}


def points(specification: str) -> dict[Point, int]:
    """Points and arrivals from `name` or `name:n` (die at the n-th arrival), parted by commas.

    Raises: ValueError.
    """
    found: dict[Point, int] = {}
    for part in filter(None, specification.split(",")):
        name, _, arrivals = part.partition(":")
        known = next((point for point in POINTS if point == name), None)
        if known is None:
            raise ValueError(f"names a point that is none of {', '.join(POINTS)}")
        if not (arrivals or "1").isdecimal() or int(arrivals or 1) < 1:
            raise ValueError("has a number of arrivals that is not 1 or more")
        found[known] = int(arrivals or 1)
    return found


def arm(specification: str) -> None:
    """Arm points; see `points`."""
    _armed.update(points(specification))


def reach(point: Point) -> None:
    """Kill this process without any clean-up when the point is armed and its count is used up."""
    if not _armed or point not in _armed:
        return
    _armed[point] -= 1
    if _armed[point] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
