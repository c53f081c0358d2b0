from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.dependencies.read_models.projection import GRAPH
from services.dependencies.routes import read_routes
from shared.contracts.events.dependencies import DependencyWithdrawn
from shared.contracts.events.services import ServiceAliasAdded
from shared.eventstore.types import NewEvent
from shared.http.routing import build_app
from shared.http.server import serve
from shared.projections.awaiter import wait_for
from shared.reads.reading import Reads
from tests.integration.projections.conftest import MovableClock
from tests.integration.projections.log_with_services import ServiceLog
from tests.integration.projections.running import Running, running
from tests.support.builders import LICENCES, dependency, event, service
from tests.support.ids import numbered
from tests.unit.http.sample_service import INFO, FakeAuthenticator

COUNT = 7


def link(number: int, from_: str = "licence-finder") -> NewEvent:
    ends: dict[str, Any] = {"from": from_, "to": {"service": f"publishing-{number}"}}
    return dependency(numbered("dep_", number), alias=None, **ends)


class Asker:
    """The dependencies service's reads over both logs."""

    def __init__(
        self, caller: aiohttp.ClientSession, graph: Running, logs: dict[str, ServiceLog]
    ) -> None:
        self.caller = caller
        self.graph = graph
        self.logs = logs

    async def get(self, path: str, **query: str) -> Any:
        heads = [(await log.reader.head()).where for log in self.logs.values()]
        assert await wait_for(self.graph.models, heads, 20)
        headers = {"Authorization": "Bearer audit"}
        async with self.caller.get(path, params=query, headers=headers) as response:
            document = await response.json()
            assert response.status == 200, document
            return document

    async def pages(self, limit: int, **query: str) -> list[list[str]]:
        """The ids of every page; between pages something is withdrawn and something declared."""
        pages, path = [], "/v1/dependencies"
        page = await self.get(path, limit=str(limit), **query)
        while True:
            assert set(page) == {"items", "next", "positions", "lag_ms"}
            pages.append([item["id"] for item in page["items"]])
            if page["next"] is None:
                return pages
            late = link(90 + len(pages))
            gone = event(DependencyWithdrawn(), numbered("dep_", COUNT))
            await self.logs["dependencies"].append(late)
            await self.logs["dependencies"].append(gone)
            page = await self.get(path, limit=str(limit), cursor=page["next"], **query)


@pytest_asyncio.fixture
async def asker(
    log: ServiceLog, other_log: ServiceLog, clock: MovableClock
) -> AsyncIterator[Asker]:
    logs = {"registry": log, "dependencies": other_log}
    async with running(other_log, GRAPH, clock, open_feed=lambda name: logs[name].feed()) as graph:
        routes = read_routes(Reads(graph.models, clock, b"s" * 32), other_log.reader)
        app = build_app(routes, authenticator=FakeAuthenticator(), info=INFO)
        async with (
            serve(app, "127.0.0.1", 0) as server,
            aiohttp.ClientSession(server.url) as caller,
        ):
            yield Asker(caller, graph, logs)


@pytest.mark.parametrize("limit", [1, 2, 3, COUNT, 200])
async def test_pages_agree_whatever_is_written_between_them(asker: Asker, limit: int) -> None:
    made = [numbered("dep_", number) for number in range(1, COUNT + 1)]
    for number in range(1, COUNT + 1):
        await asker.logs["dependencies"].append(link(number))
    pages = await asker.pages(limit)
    assert [one for page in pages for one in page] == made
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]


async def test_the_list_of_one_dependent_is_paged_by_every_name_that_it_has(asker: Asker) -> None:
    registered = asker.logs["registry"]
    await registered.append(service())
    names = ["licence-finder", LICENCES, "crm:7"]
    for number in range(1, COUNT + 1):
        await asker.logs["dependencies"].append(link(number, names[number % 3]))
        await asker.logs["dependencies"].append(link(50 + number, "other"))
    mine = [numbered("dep_", number) for number in range(1, COUNT + 1)]
    known = [one for number, one in enumerate(mine, 1) if number % 3 != 2]
    query = {"from": "licence-finder"}
    unresolved = await asker.get("/v1/dependencies", **query)
    assert [item["id"] for item in unresolved["items"]] == known
    await registered.append(event(ServiceAliasAdded(alias="crm:7")))
    pages = await asker.pages(2, **query)
    assert pages == [mine[0:2], mine[2:4], mine[4:6], mine[6:]]
    before = await asker.get("/v1/dependencies", known_at=unresolved["positions"], **query)
    assert [item["id"] for item in before["items"]] == known
    (name,) = {
        item["from"]["name"]
        for item in (await asker.get("/v1/dependencies", limit="1", **query))["items"]
    }
    assert name == "licence-finder"


async def test_a_walk_tells_that_it_was_whole(asker: Asker) -> None:
    await asker.logs["dependencies"].append(dependency())
    document = await asker.get("/v1/services/licence-finder/upstream")
    assert [item["end"]["name"] for item in document["items"]] == ["publishing"]
    assert document["truncated"] is False
