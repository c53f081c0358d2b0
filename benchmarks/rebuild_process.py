"""Rebuilds the registry's read model in a process of its own, and prints what it held at most."""

import asyncio
import os
import sys

import orjson

from benchmarks.machine import peak_mib
from benchmarks.servers import pooled
from services.registry.read_models.projection import ESTATE
from shared.clock import SystemClock
from shared.eventstore.reader import LogReader
from shared.projections.log_feed import LogFeed
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.service.heap import tune_heap


async def _rebuild(dsn: str) -> int:
    """As an operator does: beside the generation that serves, and compared with it."""
    models = ReadModels(dsn, ESTATE, SystemClock())
    tune_heap()
    await models.start()
    try:
        async with pooled(dsn) as pool:
            feed = LogFeed(LogReader(pool, ESTATE.logs[0]))
            made = await rebuild(ESTATE, lambda _log: feed, models, SystemClock())
        async with models.connected(made) as connection:
            return int(await connection.fetchval("SELECT sum(position) FROM checkpoint"))
    finally:
        await models.stop()


if __name__ == "__main__":
    position = asyncio.run(_rebuild(sys.argv[1]))
    print(orjson.dumps({"peak_mib": peak_mib(os.getpid()), "position": position}).decode())
