"""Owns Kafka clients that do not end as they should, and what becomes of those who let them go.

Must not need a broker: how aiokafka's own tasks end is acted out.
"""

import asyncio
from typing import Any

from shared.messaging.kafka import STOP_DEADLINE_S, drop_consumer


class LeakingClient:
    """Cancels a task of its own and awaits it, as aiokafka's fetcher does between two retries."""

    async def stop(self) -> None:
        retrying = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        retrying.cancel()
        await retrying


class StuckClient:
    """Never ends, whatever it is told."""

    async def stop(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > self.ends_at:
                    raise

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at


async def test_dropping_a_client_that_leaks_a_cancellation_does_not_end_the_caller() -> None:
    client: Any = LeakingClient()
    await drop_consumer(client)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_dropping_a_client_that_swallows_cancellations_ends_in_time() -> None:
    loop = asyncio.get_running_loop()
    client: Any = StuckClient(loop.time() + STOP_DEADLINE_S + 0.2)
    async with asyncio.timeout(STOP_DEADLINE_S + 5):
        await drop_consumer(client)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "StuckClient" in repr(task):
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.wait({task})


async def test_a_caller_that_is_cancelled_meanwhile_ends() -> None:
    client: Any = StuckClient(0.0)
    dropping = asyncio.create_task(drop_consumer(client))
    await asyncio.sleep(0)
    dropping.cancel()
    await asyncio.wait({dropping}, timeout=5)
    assert dropping.cancelled()
