import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.simulation.fake_read_model import SCHEMA
from tests.simulation.faults import FAULTS, Fault
from tests.simulation.requests import LOG
from tests.simulation.run import simulate
from tests.simulation.world import World


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.mark.parametrize("fault", dict.fromkeys(FAULTS), ids=lambda fault: fault.__name__)
def test_a_fault_that_comes_again_and_again_breaks_no_promise(fault: Fault) -> None:
    async def trouble(world: World, during_s: float) -> None:
        for _ in range(3):
            await asyncio.sleep(during_s / 4)
            await fault(world)

    result = simulate(1, trouble=trouble)
    assert result.violations == ()
    assert result.events > 0


def test_a_read_model_goes_on_when_its_idle_database_has_lost_the_last_batches() -> None:
    lost = []

    async def trouble(world: World, _during_s: float) -> None:
        await asyncio.sleep(20)
        before = applied(world)
        world.follower.crash(fail_over=True)
        lost.append(before - applied(world))

    result = simulate(2, trouble=trouble)
    assert lost[0] > 0
    assert result.violations == ()


def applied(world: World) -> int:
    position: int = world.follower.tables[SCHEMA, "checkpoint"][LOG]["position"]
    return position
