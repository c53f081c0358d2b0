"""kill -9 at every step: the next start comes to the same tables, and one pointer only."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

import shared
from shared.projections.replay import replay
from tests.integration.projections.conftest import MovableClock
from tests.integration.projections.log_with_services import ServiceLog, estate
from tests.integration.projections.running import running
from tests.integration.projections.sample_projection import contents, sample
from tests.integration.projections.test_projection_rebuild import SERVICES, active, schemas

ROOT = Path(shared.__path__[0]).parent


async def run_process(log: ServiceLog, what: str, failpoints: str = "") -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.projections.runner_process",
        log.access.app_dsn,
        what,
        failpoints,
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await asyncio.wait_for(process.wait(), 60)


async def replayed(log: ServiceLog, clock: MovableClock) -> dict[str, list[object]]:
    dsn = log.access.app_dsn
    made = await replay(sample(), log.feed, dsn, clock)
    return await contents(dsn, sample(), made.schema)


@pytest.mark.parametrize("where", ["projector.before_commit:5", "projector.after_commit:5"])
async def test_killed_runner_resumes_where_it_was(
    log: ServiceLog, clock: MovableClock, where: str
) -> None:
    await log.append_all(estate(SERVICES, 500))
    assert await run_process(log, "run", where) == -signal.SIGKILL
    done = {"projector.before_commit:5": 200, "projector.after_commit:5": 250}[where]
    assert await log.pool.fetchval("SELECT position FROM sample_g1.checkpoint") == done
    assert await run_process(log, "run") == 0
    live = await contents(log.access.app_dsn, sample(), "sample_g1")
    assert live == await replayed(log, clock)


@pytest.mark.parametrize(
    ("where", "serves"),
    [
        ("rebuild.copying:3", 1),
        ("projector.before_commit:4", 1),
        ("projector.after_commit:4", 1),
        ("rebuild.before_flip", 1),
        ("rebuild.inside_flip", 1),
        ("rebuild.after_flip", 2),
    ],
)
async def test_killed_rebuild_leaves_one_pointer_and_can_be_taken_up(
    log: ServiceLog, clock: MovableClock, where: str, serves: int
) -> None:
    await log.append_all(estate(SERVICES, 500))
    async with running(log, sample(), clock) as run:
        await run.caught_up()
        before = await run.tables()
        assert await run_process(log, "rebuild", where) == -signal.SIGKILL
        assert await active(log) == [serves]
        assert await run_process(log, "rebuild") == 0
        assert await active(log) == [serves + 1]
        assert await schemas(log) == [f"sample_g{serves}", f"sample_g{serves + 1}"]
        await run.models.look()
        assert await run.tables() == before
