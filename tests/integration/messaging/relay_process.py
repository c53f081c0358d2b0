"""A relay alone in a process, to be killed or frozen: writes its status as JSON lines."""

import argparse
import asyncio
import dataclasses

import asyncpg
import orjson

from shared import failpoints
from shared.clock import SystemClock
from shared.eventstore.reader import HeadSignal, LogReader
from shared.messaging.kafka import KafkaSettings
from shared.messaging.relay import Relay, RelayLimits


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("dsn", "bootstrap", "log", "holder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--failpoint", default="")
    parser.add_argument("--ttl", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=2_000)
    return parser.parse_args()


async def main() -> None:
    arguments = _arguments()
    failpoints.arm(arguments.failpoint)
    limits = RelayLimits(
        batch_max_events=arguments.batch,
        lease_ttl_s=arguments.ttl,
        lease_renew_s=arguments.ttl / 3,
        standby_poll_s=0.2,
    )
    async with asyncpg.create_pool(arguments.dsn, min_size=1, max_size=3) as pool:
        relay = Relay(
            LogReader(pool, arguments.log),
            pool,
            KafkaSettings(arguments.bootstrap),
            HeadSignal(),
            SystemClock(),
            holder=arguments.holder,
            limits=limits,
        )
        await relay.start()
        last = None
        while True:
            status = relay.status
            if status != last:
                print(orjson.dumps(dataclasses.asdict(status)).decode(), flush=True)  # noqa: T201
                last = status
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
