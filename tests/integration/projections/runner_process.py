"""A process that runs or rebuilds the sample projection and dies where it is told to.

Arguments: DSN of the application role, `run` or `rebuild`, failpoints to arm.
"""

import asyncio
import sys

import asyncpg

from shared.clock import SystemClock
from shared.eventstore.reader import LogReader
from shared.failpoints import arm
from shared.projections.awaiter import wait_for
from shared.projections.bulk import OpenFeed
from shared.projections.follower import RunnerLimits
from shared.projections.log_feed import LogFeed
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.runner import ProjectionRunner
from tests.integration.projections.running import LOOKING_OFTEN
from tests.integration.projections.sample_projection import sample

SMALL_BATCH_EVENTS = 50
LIMITS = RunnerLimits(batch_max_events=SMALL_BATCH_EVENTS)


async def main(dsn: str, what: str, failpoints: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        reader = LogReader(pool, "registry")
        models = ReadModels(dsn, sample(), SystemClock(), LOOKING_OFTEN)
        await models.start()

        def open_feed(_log: str) -> LogFeed:
            return LogFeed(reader)

        arm(failpoints)
        if what == "rebuild":
            await rebuild(
                sample(), open_feed, models, SystemClock(), batch_max_events=SMALL_BATCH_EVENTS
            )
        else:
            await run_to_head(open_feed, models, reader)
        await models.stop()


async def run_to_head(open_feed: OpenFeed, models: ReadModels, reader: LogReader) -> None:
    runner = ProjectionRunner(sample(), open_feed, models, SystemClock(), limits=LIMITS)
    await runner.start()
    if not await wait_for(models, [(await reader.head()).where], 30):
        raise TimeoutError(str(runner.status()))
    await runner.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
