"""An import during which Kafka goes away and every service dies: nothing lost, nothing twice."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest
import pytest_asyncio

from cli.demo.importing import import_all, require_complete
from cli.demo.questions import Clients, ask_everything, await_caught_up
from cli.demo.sources import Plan, read_plan
from cli.local_estate import LocalEstate, local_estate
from cli.replaying import PROJECTIONS, replay_model
from cli.verifying import verify_logs
from shared.audit.report import report_json
from shared.clock import SystemClock
from tests.support.asking import Asker, asking
from tests.support.demo_runs import GIVEN_SERVERS, ROOT, processes_naming, state_folder
from tests.support.e2e_config import E2eConfig, seeded
from tests.support.held_against import assert_day, assert_figures, events_expected
from tests.support.small_sources import write_part
from tests.support.source_reading import Reading, read_sources

pytestmark = pytest.mark.timeout(600)

UNTIL = date(2021, 12, 31)
RATE = 40.0


@dataclass
class Progress:
    """How far an import has come; lets others wait for it."""

    totals: Mapping[str, int]
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def advance(self, source: str, count: int) -> None:
        self.done[source] += count
        self.moved.set()
        self.moved = asyncio.Event()

    async def reached(self, source: str, share: float) -> None:
        while self.done[source] < share * self.totals[source]:
            await self.moved.wait()


@dataclass(frozen=True)
class Survived:
    """An estate after the import, and what was to be imported."""

    estate: LocalEstate
    plan: Plan
    reading: Reading
    asker: Asker

    @property
    def databases(self) -> dict[str, str]:
        return {name: access.app_dsn for name, access in self.estate.databases.items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, chosen: E2eConfig) -> Path:
    folder: Path = tmp_path_factory.mktemp("source")
    write_part(ROOT / "data", folder, UNTIL, 0.25, seeded(chosen.seed))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def survived(source: Path, chosen: E2eConfig) -> AsyncIterator[Survived]:
    plan = read_plan(source, None)
    with pytest.MonkeyPatch.context() as environment, state_folder() as state:
        for name in GIVEN_SERVERS:
            environment.delenv(name, raising=False)
        async with local_estate(state) as estate:
            await _import_with_faults(estate, plan, chosen)
            async with asking(estate.urls, estate.keys["operator"]) as asker:
                clients = Clients(asker.registry, asker.dependencies, asker.notifications)
                await await_caught_up(clients)
                yield Survived(estate, plan, read_sources(source), asker)
        assert all(one.process and one.process.returncode == 0 for one in estate.services.values())
        assert not processes_naming(state)


async def _import_with_faults(estate: LocalEstate, plan: Plan, chosen: E2eConfig) -> None:
    totals = {one.name: one.submissions for one in (plan.repos, plan.docker)}
    progress = Progress(totals)
    chance = seeded(chosen.seed)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            import_all(
                estate, plan, rate=RATE, dependencies_first=False, on_advance=progress.advance
            )
        )
        group.create_task(_kafka_goes_away(estate, progress, chosen.kafka_away_s))
        for service, during in (
            ("registry", "govuk-repos"),
            ("notifications", "govuk-repos"),
            ("dependencies", "govuk-docker"),
        ):
            group.create_task(_service_dies(estate, service, progress, during, chance))


async def _kafka_goes_away(estate: LocalEstate, progress: Progress, away_s: float) -> None:
    await progress.reached("govuk-repos", 0.3)
    await estate.backing.stop_kafka()
    await asyncio.sleep(away_s)
    assert progress.done["govuk-repos"] < progress.totals["govuk-repos"], "it was too late"
    await estate.backing.start_kafka()


async def _service_dies(
    estate: LocalEstate, service: str, progress: Progress, during: str, chance: Random
) -> None:
    await progress.reached(during, chance.uniform(0.05, 0.85))
    process = estate.services[service]
    await process.kill()
    await process.start()
    await process.ready()


async def test_every_submission_is_in_the_log_once(survived: Survived) -> None:
    expected = events_expected(survived.reading)
    assert 250 < expected["registry"] < 600
    assert expected["dependencies"] > 30
    heads = await survived.asker.heads()

    assert {log: position for log, (position, _root) in heads.items()} == expected
    for source in (survived.plan.repos, survived.plan.docker):
        await require_complete(survived.estate, source)


async def test_figures_and_days_are_as_the_sources_say(survived: Survived) -> None:
    asker, estate = survived.asker, survived.estate
    clients = Clients(asker.registry, asker.dependencies, asker.notifications)
    figures = await ask_everything(clients, survived.plan, None, SystemClock())
    verified = report_json(await verify_logs(survived.databases, estate.kafka))
    figures |= {"verify": verified, "logs": {one["log"]: one for one in verified["logs"]}}

    assert_figures(figures, survived.reading, None)
    for day in (date(2017, 6, 30), date(2019, 12, 31), UNTIL):
        await assert_day(asker, survived.reading, day)


@pytest.mark.parametrize("origin", ["log", "topic"])
@pytest.mark.parametrize("model", list(PROJECTIONS))
async def test_replay_equals_what_serves(survived: Survived, model: str, origin: str) -> None:
    settings = survived.estate.kafka
    report = await replay_model(
        model, origin, survived.databases, settings, None, lambda _done, _total, _eta: None
    )

    assert (report.same, report.differences) == (True, [])
    assert report.rows > 100


async def test_change_feed_holds_both_logs_whole_and_in_order(survived: Survived) -> None:
    fed: dict[str, list[Any]] = {"registry": [], "dependencies": []}
    for event in await survived.asker.changes():
        fed[event["source"].removeprefix("estate/")].append(event)

    for log, events in fed.items():
        assert events == await _logged(survived.databases[log])


async def _logged(dsn: str) -> list[Any]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        rows = await connection.fetch("SELECT body FROM log.events ORDER BY position")
    finally:
        await connection.close(timeout=5)
    return [orjson.loads(row["body"]) for row in rows]
