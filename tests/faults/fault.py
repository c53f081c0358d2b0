"""Owns what a fault is: it hurts a world, lifts the hurt, and says when, or why it cannot.

Must not know any particular fault.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.world import World


class NotReachedError(Exception):
    """The fault did not come about, so the trial says nothing and is due again."""


class EndedWronglyError(Exception):
    """A process ended otherwise than it must, so the trial has failed."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """When the hurt was over (monotonic), and what exactly it was."""

    at: float
    detail: str = ""


Fault = Callable[[World, random.Random], Awaitable[Lifted]]
