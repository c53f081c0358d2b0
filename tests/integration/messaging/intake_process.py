"""A writer and an intake alone in a process, to be killed or frozen."""

import argparse
import asyncio
import dataclasses

import orjson

from shared import failpoints
from shared.database.provision import DatabaseAccess
from shared.messaging.kafka import KafkaSettings
from tests.integration.messaging.log_under_test import open_log
from tests.integration.messaging.submissions_under_test import make_intake


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("dsn", "bootstrap", "log", "holder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--failpoint", default="")
    return parser.parse_args()


async def main() -> None:
    arguments = _arguments()
    failpoints.arm(arguments.failpoint)
    access = DatabaseAccess(arguments.dsn, arguments.dsn)
    async with open_log(access, arguments.log) as log:
        intake = make_intake(log, KafkaSettings(arguments.bootstrap), arguments.holder)
        await intake.start()
        while True:
            status = dataclasses.replace(intake.status, lags=dict(intake.status.lags))
            print(orjson.dumps(status).decode(), flush=True)  # noqa: T201
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
