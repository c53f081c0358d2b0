"""Owns time that passes only when nothing is left to do, and processes that can freeze and die.

Must not ask the machine for anything: a run is a function of its seed.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass(eq=False, slots=True)
class Process:
    """A process of the estate: everything that its tasks schedule belongs to it.

    Frozen, it neither runs nor notices; dead, it never will. `skew_s` is what its clock is off by.
    """

    name: str
    frozen: bool = False
    dead: bool = False
    skew_s: float = 0.0
    parked: list[asyncio.Handle] = field(default_factory=list)
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        """Let what starts in this process's context know whose it is."""
        self.context.run(PROCESS.set, self)

    def __str__(self) -> str:
        return self.name


PROCESS: Final[ContextVar[Process | None]] = ContextVar("process", default=None)


class StalledError(Exception):
    """Nothing is ready and nothing will ever be."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in their order; with none left, it is the time of the next timer at once."""

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._virtual_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_made = 0

    def time(self) -> float:
        """Seconds since the run began."""
        return self._virtual_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's, without its checks: this is most of what a run does."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's; of two timers for one time, the first made is the first to go."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin work in a process."""
        return self.create_task(work, context=process.context)

    def thaw(self, process: Process) -> None:
        """Let a process go on with all that it has missed."""
        process.frozen = process.dead = False
        self._ready.extend(process.parked)
        process.parked.clear()

    def _run_once(self) -> None:
        """One round: what is ready, or else the next timers. Takes the place of asyncio's own."""
        if not self._ready:
            self._move_on()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            process: Process | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process is not None and (process.frozen or process.dead):
                process.parked.append(handle)
                continue
            self.steps += 1
            handle._run()

    def _move_on(self) -> None:
        """Let it be the time of the next timer; those that are due go in the order of making."""
        timers = self._timers
        while timers and (not self._ready or timers[0][0] <= self._virtual_s):
            when, _, timer = heapq.heappop(timers)
            if not timer.cancelled():
                self._virtual_s = max(self._virtual_s, when)
                self._ready.append(timer)
        if not self._ready:
            raise StalledError

    def _process_events(self, _events: object) -> None:
        """There is nothing outside that anything could come from."""

    def _write_to_self(self) -> None:
        """No other thread could wait for this loop."""


class ProcessClock:
    """The clock of one process; its wall time may be off, its seconds are everybody's."""

    def __init__(self, loop: VirtualLoop, process: Process) -> None:
        self._loop = loop
        self._process = process

    def now(self) -> datetime:
        """What this process takes for the present instant."""
        return instant(self._loop.time() + self._process.skew_s)

    def monotonic(self) -> float:
        """Seconds since the run began."""
        return self._loop.time()


def instant(seconds: float) -> datetime:
    """Virtual seconds as an instant."""
    return START + timedelta(seconds=seconds)
