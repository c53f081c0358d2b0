"""A process that appends commands and says which were acknowledged; it dies where it is told to.

Must not be imported by tests; they run it.
"""

import argparse
import asyncio
import sys

import orjson

from shared.clock import SystemClock, new_id
from shared.eventstore.types import Outcome
from shared.eventstore.writer import LogWriter
from shared.failpoints import arm
from tests.integration.eventstore.log_under_test import Connecting
from tests.support.counting import CATEGORIES, add


async def run(dsn: str, prefix: str, count: int) -> None:
    """Append `count` commands, twenty at a time."""
    writer = LogWriter(Connecting(dsn), CATEGORIES, SystemClock(), new_id)
    await writer.start()

    async def submit(number: int) -> None:
        key = f"{prefix}{number}"
        outcome: Outcome = await writer.submit(add(key, f"svc_{number % 5}", events=1 + number % 2))
        acknowledged = {"key": key, "first": outcome.first_position, "last": outcome.last_position}
        sys.stdout.buffer.write(orjson.dumps(acknowledged) + b"\n")
        sys.stdout.buffer.flush()

    for start in range(0, count, 20):
        await asyncio.gather(*(submit(n) for n in range(start, min(start + 20, count))))
    await writer.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--prefix", default="k")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--failpoint", default="")
    options = parser.parse_args()
    arm(options.failpoint)
    asyncio.run(run(options.dsn, options.prefix, options.count))
