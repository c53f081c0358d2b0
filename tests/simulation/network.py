"""Owns the way between clients and servers: how long it takes, and what gets lost on it.

Must not know what is carried.
"""

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from typing import Any


class Fate(Enum):
    """What becomes of a request."""

    SERVED = "served"
    LOST = "lost"
    ANSWER_LOST = "answer lost"


class Network:
    """Carries requests and answers; sound and immediate unless told otherwise.

    `loss` is how likely either is lost with its connection, `slowness_s` how long one may take.
    What servers do runs in a context of its own, so no client's freezing or dying stops it.
    """

    def __init__(
        self,
        chance: random.Random,
        note: Callable[[str], None] = lambda _line: None,
        *,
        slowness_s: float = 0.0,
    ) -> None:
        self.chance = chance
        self.note = note
        self.loss = 0.0
        self.slowness_s = slowness_s
        self._servers = Context()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that all this runs on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def delay_s(self) -> float:
        """How long the next message takes."""
        return self.slowness_s * self.chance.random() ** 3

    def fate(self) -> Fate:
        """What becomes of the next request."""
        if self.chance.random() >= self.loss:
            return Fate.SERVED
        return Fate.LOST if self.chance.random() < 0.5 else Fate.ANSWER_LOST

    def at_server(self, delay_s: float, work: Callable[..., Any], *args: Any) -> None:
        """Let a server do something after a while."""
        if delay_s > 0:
            self.loop.call_at(self.loop.time() + delay_s, work, *args, context=self._servers)
        else:
            self.loop.call_soon(work, *args, context=self._servers)


def answer(future: "asyncio.Future[Any]", result: Any) -> None:
    """Answer a request, unless its client has given it up."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
        future.exception()  # Nobody may be waiting for it any more.
    else:
        future.set_result(result)
