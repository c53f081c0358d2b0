"""Owns the checks behind `/readyz`: what each part must be like for the service to serve.

Must not wait for Kafka: with Kafka down, commands and reads go on.
"""

from collections.abc import Sequence

import asyncpg

from shared.database.migrate import Migration, missing_migrations
from shared.eventstore.reader import check_log
from shared.messaging.intake import Intake
from shared.messaging.relay import Relay
from shared.observability.health import Check, Health
from shared.projections.runner import ProjectionRunner
from shared.projections.status import RunnerState

MAX_LAG_EVENTS = 10_000


def database_ready(
    pool: "asyncpg.Pool[asyncpg.Record]", migrations: Sequence[Migration], log: str | None = None
) -> Check:
    """The database answers, has every migration and, of a service with a log, is that log's."""

    async def check() -> Health:
        async with pool.acquire(timeout=1.5) as connection:
            missing = await missing_migrations(connection, migrations)  # type: ignore[arg-type]
            if log is not None and not missing:
                await check_log(connection, log)
        return Health(not missing, f"{len(missing)} migrations missing" if missing else "")

    return check


def projection_ready(runner: ProjectionRunner) -> Check:
    """The projection is neither stopped nor far behind."""

    async def check() -> Health:
        status = runner.status()
        lag = max((one.lag for one in status.logs.values()), default=0)
        running = status.state is not RunnerState.STOPPED
        detail = f"{status.state}, generation {status.generation}, {lag} events behind"
        if status.reason:
            detail += f", {status.reason}"
        return Health(running and lag <= MAX_LAG_EVENTS, detail)

    return check


def relay_ready(relay: Relay) -> Check:
    """Reported, never failed: reads go on in any case, and a halt refuses commands by itself."""

    async def check() -> Health:
        status = relay.status
        return Health(ok=True, detail=f"{status.state}, {status.lag} events behind")

    return check


def intake_ready(intake: Intake) -> Check:
    """The intake works, or waits for what it needs."""

    async def check() -> Health:
        status = intake.status
        return Health(
            status.state != "fault", f"{status.state}, {sum(status.lags.values())} waiting"
        )

    return check
