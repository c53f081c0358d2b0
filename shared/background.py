"""Owns work that goes on beside everything else of a process until it is stopped.

Must not know what the work is.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_PAUSE_S: Final = 1.0


class Background:
    """One task, begun anew when anything but `stop` ends it by an exception.

    That includes a cancellation that leaks out of a library that cancelled a task of its own:
    nobody asked this one to end. Work that returns has ended as it meant to.
    """

    def __init__(
        self, name: str, work: Callable[[], Coroutine[None, None, None]], pause_s: float = _PAUSE_S
    ) -> None:
        self._name = name
        self._work = work
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._keep_on(), name=self._name)

    async def stop(self) -> None:
        """Cancel the work and wait for its end; repeatable."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_on(self) -> None:
        while True:
            try:
                return await self._work()
            except asyncio.CancelledError:
                if self._is_ending():
                    raise
                _log.exception("background_work_ended", work=self._name)
            except Exception:  # noqa: BLE001 - whatever it is, the work has to go on.
                _log.exception("background_work_ended", work=self._name)
            await asyncio.sleep(self._pause_s)

    @staticmethod
    def _is_ending() -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
