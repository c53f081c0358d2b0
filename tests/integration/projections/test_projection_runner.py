import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared.contracts.events.services import Phase
from shared.contracts.names import Position
from shared.eventstore.types import LogUnavailableError
from shared.projections.applying import TRANSIENT
from shared.projections.awaiter import UnknownLogError, wait_for
from shared.projections.feed import Feed
from shared.projections.follower import RunnerLimits
from shared.projections.replay import replay
from shared.projections.status import RunnerState
from tests.integration.projections.conftest import MovableClock, Until
from tests.integration.projections.log_with_services import (
    ServiceLog,
    estate,
    make_database,
    open_log,
    phased,
    registered,
    renamed,
    withdrawn,
)
from tests.integration.projections.running import QUICK, running
from tests.integration.projections.sample_projection import contents, sample, two_logs
from tests.support.throw_away import throw_away_servers

A, B, C = (f"svc_{digit * 32}" for digit in "abc")


async def test_runner_shows_what_the_log_says(log: ServiceLog, clock: MovableClock) -> None:
    async with running(log, sample(), clock) as run:
        await log.append(registered(A, "Passports"))
        await log.append(phased(A, Phase.BETA), renamed(A, "Get a passport"))
        await run.caught_up()
        async with run.models.snapshot() as connection:
            row = await connection.fetchrow("SELECT subject, name, phase FROM services")
            latest = await connection.fetchval("SELECT position FROM latest")
            reflection = await run.models.reflection(connection)
        assert row is not None
        assert tuple(row) == (A, "Get a passport", "beta")
        assert latest == 3
        assert str(reflection) == "registry:3"
        assert reflection.lag_ms == 0
        status = run.runner.status()
        assert (status.state, status.logs["registry"].lag) == (RunnerState.FOLLOWING, 0)


async def test_unknown_types_advance_the_checkpoint(log: ServiceLog, clock: MovableClock) -> None:
    async with running(log, sample(), clock) as run:
        await log.append(withdrawn("dep_1"))
        await run.caught_up()
        assert (await run.tables())["history"] == []


async def test_write_of_the_future_shows_when_its_time_comes(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    clock.at = datetime.now(UTC)
    soon = clock.at + timedelta(days=30)
    async with running(log, sample(), clock) as run:
        await log.append(registered(A, "Now"))
        await log.append(renamed(A, "Later", soon), registered(B, "Only later", soon))
        await run.caught_up()

        async def names() -> list[tuple[str, datetime | None]]:
            async with run.models.snapshot() as connection:
                rows = await connection.fetch(
                    "SELECT name, valid_until FROM services ORDER BY name"
                )
            return [tuple(row) for row in rows]

        assert await names() == [("Now", soon)]
        clock.at = soon

        async def rolled() -> bool:
            return await names() == [("Later", None), ("Only later", None)]

        await until(rolled)


async def test_correction_takes_back_what_it_names(log: ServiceLog, clock: MovableClock) -> None:
    async with running(log, sample(), clock) as run:
        await log.append(registered(A, "First"))
        await log.append(renamed(A, "Mistake", datetime(2024, 1, 1, tzinfo=UTC)))
        await log.append(renamed(A, "Right", datetime(2021, 1, 1, tzinfo=UTC), corrects=(2,)))
        await run.caught_up()
        async with run.models.snapshot() as connection:
            assert await connection.fetchval("SELECT name FROM services") == "Right"
            retracted = await connection.fetchrow(
                "SELECT position, retracted_at_position FROM facts "
                "WHERE retracted_at_position IS NOT NULL"
            )
            queued = await connection.fetchval("SELECT count(*) FROM retractions")
        assert retracted is not None
        assert tuple(retracted) == (2, 3)
        assert queued == 0


async def test_second_runner_loses_and_nothing_doubles(
    log: ServiceLog, clock: MovableClock
) -> None:
    small = RunnerLimits(batch_max_events=20, read_wait_s=0.2, tick_interval_s=0.05)
    async with (
        running(log, sample(), clock, limits=small) as one,
        running(log, sample(), clock, limits=small) as other,
    ):
        await log.append_all(estate(50, 1500), at_once=25)
        await one.caught_up()
        await other.caught_up()
        tables = await one.tables()
        assert len(tables["history"]) == 1550
        assert one.models.generation == other.models.generation
        both = [run.runner.status().logs["registry"] for run in (one, other)]
        assert sum(status.events for status in both) == 1550
        assert {status.state for status in both} == {RunnerState.FOLLOWING}


async def test_batch_is_written_with_its_checkpoint_or_not_at_all(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append_all(estate(5, 20))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        before = await run.tables()
        await log.append(renamed("svc_" + "0" * 32, "Fine"))
        await run.caught_up()
        await log.append(renamed("svc_" + "0" * 32, "unfit"))

        async def stopped() -> bool:
            return run.runner.status().state is RunnerState.STOPPED

        await until(stopped)
        status = run.runner.status()
        assert status.reason == "write-refused"
        assert status.logs["registry"].stopped_at == 27
        assert (await run.at()).position == 26
        after = await run.tables()
        assert len(after["history"]) == len(before["history"]) + 1


async def test_poison_stops_behind_what_was_good_and_reads_go_on(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append(registered(A, "Good"), renamed(A, "Better"))
    await log.append(renamed(A, "poison"), renamed(A, "Never seen"))
    async with running(log, sample(), clock) as run:

        async def stopped() -> bool:
            return run.runner.status().state is RunnerState.STOPPED

        await until(stopped)
        status = run.runner.status()
        assert (status.reason, status.logs["registry"].stopped_at) == ("handler-failed", 3)
        assert "PoisonError" in (status.detail or "")
        async with run.models.snapshot() as connection:
            assert await connection.fetchval("SELECT name FROM services") == "Better"
            reflection = await run.models.reflection(connection)
        assert str(reflection) == "registry:2"
        assert reflection.lag_ms > 0
        await run.runner.restart()
        await until(stopped)


async def test_unknown_version_of_a_handled_type_stops(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append(registered(A, "Good"), renamed(A, "Better"))
    body = await log.pool.fetchval("SELECT body FROM log.events WHERE position = 2")
    newer = body.replace(b"details_changed.v1", b"details_changed.v9")
    await log.as_owner("UPDATE log.events SET body = $1 WHERE position = 2", newer)
    async with running(log, sample(), clock) as run:

        async def stopped() -> bool:
            return run.runner.status().reason == "unknown-version"

        await until(stopped)
        assert (await run.at()).position == 1


async def test_gap_in_the_log_stops_with_its_name(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append_all(estate(5, 5))
    await log.as_owner("DELETE FROM log.events WHERE position = 7")
    async with running(log, sample(), clock) as run:

        async def stopped() -> bool:
            return run.runner.status().state is RunnerState.STOPPED

        await until(stopped)
        assert run.runner.status().reason == "gap"


async def test_runner_goes_on_after_the_database_was_away(
    clock: MovableClock, until: Until
) -> None:
    async with (
        throw_away_servers(kafka=False) as own,
        open_log(await make_database(own.postgres_dsn), "registry") as log,
        running(log, sample(), clock) as run,
    ):
        await log.append(registered(A, "Before"))
        await run.caught_up()
        await own.stop_postgres()
        await asyncio.wait_for(own.start_postgres(), 30)
        await until(lambda: _did(log.append(renamed(A, "After"))))
        await until(lambda: _did(run.caught_up()))
        async with run.models.snapshot() as connection:
            assert await connection.fetchval("SELECT name FROM services") == "After"


async def _did(attempt: Awaitable[object]) -> bool:
    """Whether it worked; connections that the restart has cut fail once each."""
    try:
        await attempt
    except (*TRANSIENT, LogUnavailableError):
        return False
    return True


async def test_several_logs_come_to_one_state_however_they_interleave(
    log: ServiceLog, other_log: ServiceLog, clock: MovableClock
) -> None:
    logs = {"registry": log, "dependencies": other_log}

    def open_feed(name: str) -> Feed:
        return logs[name].feed()

    async with running(log, two_logs(), clock, open_feed=open_feed) as run:
        subjects = [f"svc_{index:032x}" for index in range(10)]

        async def register() -> None:
            for event in estate(10, 100):
                await log.append(event)

        async def withdraw() -> None:
            for index in range(60):
                await other_log.append(withdrawn(subjects[index % 10]))

        await asyncio.gather(register(), withdraw())
        heads = [(await one.reader.head()).where for one in logs.values()]
        assert await wait_for(run.models, heads, 20)
        scratch = await replay(two_logs(), open_feed, log.access.app_dsn, clock)
        assert scratch.positions == {at.log: at for at in heads}
        replayed = await contents(log.access.app_dsn, two_logs(), scratch.schema)
        assert replayed == await run.tables()


async def test_waiting_for_a_position_ends_in_time(log: ServiceLog, clock: MovableClock) -> None:
    async with running(log, sample(), clock) as run:
        assert not await wait_for(run.models, [Position("registry", 1)], 0.1)
        with pytest.raises(UnknownLogError):
            await wait_for(run.models, [Position("elsewhere", 1)], 0.1)
        outcome = await log.append(registered(A, "Seen"))
        assert outcome.last_position == 1
        assert await wait_for(run.models, [Position("registry", 1)], 5)


async def test_read_pool_cannot_write(log: ServiceLog, clock: MovableClock) -> None:
    async with running(log, sample(), clock, limits=QUICK) as run:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await run.models.pool.execute("DELETE FROM services")
