import pytest

from shared.contracts.names import Position
from shared.projections.replay import NeverAtSamePositionsError, diff, replay
from tests.integration.projections.conftest import MovableClock
from tests.integration.projections.log_with_services import ServiceLog, estate, renamed
from tests.integration.projections.running import running
from tests.integration.projections.sample_projection import contents, sample
from tests.integration.projections.test_projection_rebuild import SERVICES, writing


async def test_replay_to_a_position_shows_what_was_then(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(10, 50))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        then = await run.tables()
    await log.append_all(estate(10, 30)[10:])
    dsn = log.access.app_dsn
    seen: list[tuple[int, int, float | None]] = []
    made = await replay(
        sample(),
        log.feed,
        dsn,
        clock,
        to=[Position("registry", 60)],
        on_progress=lambda *progress: seen.append(progress),
    )
    assert made.positions == {"registry": Position("registry", 60)}
    assert await contents(dsn, sample(), made.schema) == then
    assert seen[-1][:2] == (60, 60)


async def test_diff_finds_nothing_between_equals_though_writes_go_on(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(SERVICES, 500))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        dsn = log.access.app_dsn
        made = await replay(sample(), log.feed, dsn, clock, to=[Position("registry", 100)])
        async with writing(log):
            differences = await diff(
                sample(),
                log.feed,
                dsn,
                clock,
                live_schema="sample_g1",
                scratch_schema=made.schema,
            )
        assert differences == []


async def test_diff_names_each_row_that_differs(log: ServiceLog, clock: MovableClock) -> None:
    await log.append_all(estate(5, 5))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        dsn = log.access.app_dsn
        made = await replay(sample(), log.feed, dsn, clock)
        assert run.models.generation is not None
        async with run.models.connected(run.models.generation) as connection:
            await connection.execute(
                "UPDATE services SET name = 'Forged' WHERE subject LIKE '%0003'"
            )
            await connection.execute("DELETE FROM history WHERE position = 2")
        found = await diff(
            sample(), log.feed, dsn, clock, live_schema="sample_g1", scratch_schema=made.schema
        )
    by_table = {one.table: one for one in found}
    assert by_table.keys() == {"services", "history"}
    forged = by_table["services"]
    assert forged.live is not None
    assert forged.scratch is not None
    assert (forged.live["name"], forged.scratch["name"]) == ("Forged", "Name 3")
    assert by_table["history"].key == {"log": "registry", "position": 2}
    assert by_table["history"].live is None


async def test_diff_gives_up_on_a_live_side_that_does_not_arrive(
    log: ServiceLog, clock: MovableClock
) -> None:
    await log.append_all(estate(5, 5))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
    await log.append(renamed(f"svc_{0:032x}", "After the runner ended"))
    made = await replay(sample(), log.feed, log.access.app_dsn, clock)
    with pytest.raises(NeverAtSamePositionsError):
        await diff(
            sample(),
            log.feed,
            log.access.app_dsn,
            clock,
            live_schema="sample_g1",
            scratch_schema=made.schema,
            timeout_s=0.2,
        )
