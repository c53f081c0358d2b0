import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.projections.awaiter import wait_for
from shared.projections.flip import FlipRefusedError
from shared.projections.generations import drop_retired
from shared.projections.log_feed import LogFeed
from shared.projections.projection import Connection, Handler
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.status import RunnerState
from tests.integration.projections.conftest import MovableClock, Until
from tests.integration.projections.log_with_services import (
    ServiceLog,
    estate,
    registered,
    renamed,
    withdrawn,
)
from tests.integration.projections.running import LOOKING_OFTEN, running
from tests.integration.projections.sample_projection import HANDLERS, sample, two_logs

SERVICES = 40


@contextlib.asynccontextmanager
async def writing(log: ServiceLog) -> AsyncIterator[None]:
    """Commands go on, one after the other, while the block runs."""

    enough = asyncio.Event()

    async def write() -> None:
        count = 0
        while not enough.is_set():
            count += 1
            await log.append(renamed(f"svc_{count % SERVICES:032x}", f"Written {count}"))

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        enough.set()
        await task


@contextlib.asynccontextmanager
async def reading(models: ReadModels) -> AsyncIterator[list[tuple[int, int]]]:
    """Readers ask all the time; each answer must be of one whole state."""
    answers: list[tuple[int, int]] = []

    async def read() -> None:
        while True:
            async with models.snapshot() as connection:
                answers.append(await whole_state(connection))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(read()) for _ in range(2)]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [one for one in results if not isinstance(one, asyncio.CancelledError)]
        assert failures == []


async def whole_state(connection: Connection) -> tuple[int, int]:
    services = await connection.fetchval("SELECT count(*) FROM services")
    history = await connection.fetchval("SELECT count(*) FROM history")
    latest = await connection.fetchval("SELECT max(position) FROM latest")
    position = await connection.fetchval("SELECT position FROM checkpoint")
    assert services == SERVICES
    assert history == position == latest
    return services, position


async def test_rebuild_equals_live_while_writes_and_reads_go_on(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(SERVICES, 3000))
    seen: list[tuple[int, int, float | None]] = []
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        async with writing(log), reading(run.models) as answers:
            made = await rebuild(
                sample(),
                log.feed,
                run.models,
                clock,
                on_progress=lambda *progress: seen.append(progress),
                batch_max_events=500,
            )
            await asyncio.sleep(0.3)
        assert made.number == 2
        assert len(answers) > 20
        assert seen[-1][0] == seen[-1][1]
        await run.caught_up()
        rebuilt = await run.tables()
        assert run.models.generation is not None
        assert run.models.generation.number == 2
        again = await rebuild(sample(), log.feed, run.models, clock)
        assert again.number == 3
        assert await run.tables() == rebuilt
        assert await schemas(log) == ["sample_g2", "sample_g3"]


async def schemas(log: ServiceLog) -> list[str]:
    rows = await log.pool.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sample%' ORDER BY nspname"
    )
    return [row[0] for row in rows]


async def test_newer_version_is_built_beside_and_then_serves(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append_all(estate(SERVICES, 500))
    async with running(log, sample(1), clock) as old:
        await old.caught_up()
        before = await old.tables()
        async with running(log, sample(2), clock) as new, reading(new.models):

            async def served() -> bool:
                return new.models.generation is not None and new.models.generation.version == 2

            await until(served)
            await new.caught_up()
        assert await new.tables() == before
        # The older code goes on with the generation that it can read.
        await log.append(renamed(f"svc_{0:032x}", "Seen by both"))
        await old.caught_up()
        assert old.models.generation is not None
        assert old.models.generation.version == 1


async def test_changed_tables_may_not_serve_under_the_same_version(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(SERVICES, 100))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        assert run.models.generation is not None
        async with run.models.connected(run.models.generation) as connection:
            await connection.execute("UPDATE services SET name = 'Tampered' WHERE name LIKE '%7'")
        with pytest.raises(FlipRefusedError, match="services"):
            await rebuild(sample(), log.feed, run.models, clock)
        assert run.models.generation.number == 1
        assert (await active(log)) == [1]


async def test_what_was_made_from_another_history_is_not_compared_or_gone_on_with(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(SERVICES, 500))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        before = await run.tables()
        with pytest.raises(asyncio.IncompleteReadError):
            await rebuild(
                sample(),
                log.feed,
                run.models,
                clock,
                on_progress=_break_off,
                batch_max_events=200,
            )
        for schema in ("sample_g1", "sample_g2"):
            async with run.models.connected(None) as connection:
                changed = f"UPDATE {schema}.checkpoint SET digest = 'other' WHERE position > 0"
                assert await connection.execute(changed) == "UPDATE 1"
                await connection.execute(f"DELETE FROM {schema}.latest")
        await rebuild(sample(), log.feed, run.models, clock)
        assert await run.tables() == before
        assert await active(log) == [2]


async def test_what_one_log_has_lost_does_not_keep_the_others_from_being_read(
    log: ServiceLog, other_log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(5, 20))
    await other_log.append(withdrawn("dep_1"), withdrawn("dep_2"))
    feeds = {"registry": log.feed, "dependencies": other_log.feed}
    async with running(log, two_logs(), clock, open_feed=lambda name: feeds[name]()) as run:
        heads = [(await one.reader.head()).where for one in (log, other_log)]
        assert await wait_for(run.models, heads, 20)
        before = await run.tables()
        async with run.models.connected(None) as connection:
            # As if it had been further on when the registry's log went back.
            await connection.execute(
                "UPDATE both_g1.checkpoint SET position = 99 WHERE log = 'registry'"
            )
        await rebuild(two_logs(), lambda name: feeds[name](), run.models, clock)
        assert await run.tables() == before
        async with run.models.snapshot() as connection:
            assert str(await run.models.reflection(connection)) == "dependencies:2,registry:25"


def _break_off(done: int, _total: int, _eta_s: float | None) -> None:
    if done > 200:
        raise asyncio.IncompleteReadError(b"", 1)


async def active(log: ServiceLog) -> list[int]:
    rows = await log.pool.fetch(
        "SELECT generation FROM projections.generations WHERE state = 'active'"
    )
    pointers = await log.pool.fetch("SELECT generation FROM projections.active")
    assert rows == pointers
    return [row["generation"] for row in rows]


async def test_poison_for_the_newer_version_leaves_the_older_serving(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append(registered("svc_1", "Good"), renamed("svc_1", "poison"))
    tolerant: dict[str, Handler] = {kind: lambda _event, _data: () for kind in HANDLERS}
    async with running(log, sample(1, tolerant), clock) as old:
        await old.caught_up()
        async with running(log, sample(2), clock) as new:

            async def stopped() -> bool:
                return new.runner.status().state is RunnerState.STOPPED

            await until(stopped)
            assert new.runner.status().reason == "rebuild-handler-failed"
            async with new.models.snapshot() as connection:
                reflection = await new.models.reflection(connection)
            assert str(reflection) == "registry:2"


async def test_two_processes_may_rebuild_at_once(log: ServiceLog, clock: MovableClock) -> None:
    await log.append_all(estate(SERVICES, 2000))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        before = await run.tables()
        other = ReadModels(log.access.app_dsn, sample(), clock, LOOKING_OFTEN)
        await other.start()
        await asyncio.gather(
            *(
                rebuild(sample(), log.feed, models, clock, batch_max_events=100)
                for models in (run.models, other)
            )
        )
        await other.stop()
        await run.models.look()
        assert await run.tables() == before
        assert len(await active(log)) == 1


async def test_retired_generations_are_dropped_but_the_last(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(3, 3))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        for _ in range(3):
            await rebuild(sample(), log.feed, run.models, clock)
        assert await schemas(log) == ["sample_g3", "sample_g4"]
        async with run.models.connected(None) as connection:
            assert await drop_retired(connection, sample(), keep=0) == 1
        assert await schemas(log) == ["sample_g4"]


async def test_old_pool_ends_once_its_readers_have(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    await log.append_all(estate(SERVICES, 10))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        old = run.models.pool
        async with old.acquire() as connection:
            await rebuild(sample(), log.feed, run.models, clock)
            assert run.models.pool is not old
            assert await connection.fetchval("SELECT count(*) FROM services") == SERVICES

        async def closed() -> bool:
            try:
                await old.fetchval("SELECT 1")
            except asyncpg.InterfaceError:
                return True
            return False

        await until(closed)


async def test_no_connection_is_left_by_a_stop_while_the_generation_changes(
    log: ServiceLog, clock: MovableClock, until: Until
) -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    class ClosesLate(LogFeed):
        async def close(self) -> None:
            closing.set()
            await may_close.wait()

    await log.append_all(estate(SERVICES, 10))
    late = ClosesLate(log.reader, log.signal)
    async with running(log, sample(), clock, open_feed=lambda _log: late) as run:
        await run.caught_up()
        await rebuild(sample(), log.feed, run.models, clock)
        await closing.wait()

    async def none_is_open() -> bool:
        return not await log.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'projection sample'"
        )

    try:
        await until(none_is_open)
    finally:
        may_close.set()
