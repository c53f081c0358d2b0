"""The demo on part of its sources, in any order, killed and gone on with."""

import json
import re
from datetime import date
from typing import Any

import pytest

from shared.http.client import ApiUnreachable
from tests.support.asking import Asker, every_item
from tests.support.demo_runs import (
    DEADLINE_S,
    ROOT,
    DemoRun,
    asking_run,
    demo,
    running_demo,
    state_folder,
)
from tests.support.e2e_config import E2eConfig, seeded
from tests.support.eventually import eventually
from tests.support.held_against import OTHER, assert_day, assert_figures, events_expected
from tests.support.picked_days import days, first_day, last_day
from tests.support.source_reading import Reading, read_sources

pytestmark = pytest.mark.timeout(400)

_OUR_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")


async def test_cut_history_has_its_own_figures_and_no_order_of_sources_matters(
    reading: Reading, chosen: E2eConfig
) -> None:
    chance = seeded(chosen.seed)
    begun = reading.docker.rows[0]["date"].date()
    (cut,) = days(begun, last_day(reading), 1, chance)
    cut_reading = read_sources(ROOT / "data", cut)
    as_of, *others = days(first_day(reading), cut, 3, chance)
    until, about = ("--until", cut.isoformat()), ("--as-of", as_of.isoformat())

    with state_folder() as state:
        async with running_demo(state, *until, *about) as run, asking_run(run) as asker:
            assert_figures(run.report, cut_reading, as_of)
            for day in (as_of, *others, cut):
                await assert_day(asker, cut_reading, day)
            one_way = await _documents(asker)
    with state_folder() as state:
        async with running_demo(state, *until, "--dependencies-first") as run:
            assert_figures(run.report, cut_reading, None)
            async with asking_run(run) as asker:
                for day in (as_of, *others, cut):
                    await assert_day(asker, cut_reading, day)
                assert await _documents(asker) == one_way


async def test_killed_import_goes_on_where_it_was_and_then_to_a_later_day(
    reading: Reading, chosen: E2eConfig
) -> None:
    chance = seeded(chosen.seed + 1)
    (cut,) = days(date(2017, 12, 31), last_day(reading), 1, chance)
    cut_reading = read_sources(ROOT / "data", cut)
    until = ("--until", cut.isoformat())
    with state_folder() as state:
        async with demo(state, *until, "--rate", "300") as killed:
            await _import_is_under_way(killed, events_expected(cut_reading)["registry"])
            assert await killed.kill() < 0
        async with running_demo(state, *until) as resumed, asking_run(resumed) as asker:
            assert_figures(resumed.report, cut_reading, None)
            for day in (*days(first_day(reading), cut, 3, chance), cut):
                await assert_day(asker, cut_reading, day)
        async with running_demo(state) as whole, asking_run(whole) as asker:
            assert_figures(whole.report, reading, None)
            for day in (cut, *days(cut, last_day(reading), 2, chance), last_day(reading)):
                await assert_day(asker, reading, day)
        async with demo(state, *until, "--exit") as refused:
            assert await refused.wait() == 2
            assert "holds another history" in refused.progress


async def _import_is_under_way(run: DemoRun, expected: int) -> None:
    """Wait until the registry's log has a tenth of its events; then most of them are to come."""
    await eventually(run.has_an_operator, DEADLINE_S)
    async with asking_run(run) as asker:

        async def has_begun() -> bool:
            assert run.process.returncode is None, run.progress
            try:
                log = (await asker.registry.get("/v1/log")).json()
            except ApiUnreachable as error:
                pytest.fail(f"{error}; the demo said {run.told()}")
            position = int(log["position"])
            assert position < expected
            return position > expected / 10

        await eventually(has_begun, DEADLINE_S)


async def _documents(asker: Asker) -> list[str]:
    """Everything that the read models say, without our ids and positions.

    The second body is left out: it is registered when the demo runs, not when a source says.
    """
    found = [
        *await every_item(asker.registry, "/v1/services", {"listed": "all"}),
        *await every_item(asker.registry, "/v1/organisations", {}),
        *await asker.edges(),
        (await asker.registry.get("/v1/summary")).json(),
        (await asker.dependencies.get("/v1/summary", {"limit": "200"})).json(),
    ]
    return sorted(
        json.dumps(_without_ids(one), sort_keys=True) for one in found if one.get("name") != OTHER
    )


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        passed_over = {"position", "positions", "lag_ms"}
        return {n: _without_ids(one) for n, one in value.items() if n not in passed_over}
    if isinstance(value, list):
        return [_without_ids(one) for one in value]
    return _OUR_ID.sub("id", value) if isinstance(value, str) else value
