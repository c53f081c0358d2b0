"""Owns both services' reads over both logs, asked over HTTP with and without a key.

Must not hold an expectation beyond what every answer to the public must keep to.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from services.dependencies.read_models.projection import GRAPH
from services.dependencies.routes import read_routes as dependencies_routes
from services.registry.read_models.projection import ESTATE
from services.registry.routes import read_routes as registry_routes
from shared.clock import Clock
from shared.http.routes import Route
from shared.http.routing import build_app
from shared.http.server import serve
from shared.projections.awaiter import wait_for
from shared.reads.reading import Reads
from tests.integration.projections.log_with_services import ServiceLog
from tests.integration.projections.running import Running, running
from tests.support.ids import numbered
from tests.unit.http.sample_service import INFO, FakeAuthenticator

HIDDEN: Final = numbered("svc_", 77)
TRACES: Final = (HIDDEN, "secret-scheme", "Secret Scheme", "crm:secret", "contact:", "prn_", "crd_")
"""Whatever of these is in an answer to the public has leaked."""
LISTS: Final = {"registry": "/v1/services", "dependencies": "/v1/dependencies"}


@dataclass
class World:
    """Both services' reads over both logs, asked with and without a key."""

    logs: Mapping[str, ServiceLog]
    views: Mapping[str, Running]
    routes: Mapping[str, tuple[Route, ...]]
    callers: dict[str, aiohttp.ClientSession] = field(default_factory=dict)

    async def ask(
        self, service: str, path: str, *, key: str | None = None, **query: str
    ) -> tuple[int, Any]:
        heads = [(await log.reader.head()).where for log in self.logs.values()]
        seen = [head for head in heads if service in {"dependencies", head.log}]
        assert await wait_for(self.views[service].models, seen, 20)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        call = self.callers[service].get(path, params=query, headers=headers)
        async with call as response:
            return response.status, await response.json()

    async def told(self, service: str, path: str, **query: str) -> Any:
        """What the public is told; nothing hidden may be in it."""
        status, document = await self.ask(service, path, **query)
        assert status == 200, document
        shown = json.dumps(document)
        assert not [trace for trace in TRACES if trace in shown], shown
        return document

    async def missing(self, service: str, path: str, **query: str) -> dict[str, Any]:
        """The 404 that the public gets, without what differs with each call."""
        status, document = await self.ask(service, path, **query)
        assert status == 404, document
        return {n: v for n, v in document.items() if n not in {"correlation_id", "instance"}}

    async def listed(self, service: str, **query: str) -> list[str]:
        """The ids of every page of one."""
        found, cursor = list[str](), dict[str, str]()
        while True:
            page = await self.told(service, LISTS[service], limit="1", **query, **cursor)
            assert len(page["items"]) == 1 or not (found or page["next"])
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}


@asynccontextmanager
async def both_services(
    log: ServiceLog, other_log: ServiceLog, clock: Clock
) -> AsyncIterator[World]:
    """Run both over these logs."""
    logs = {"registry": log, "dependencies": other_log}
    async with AsyncExitStack() as stack:
        estate = await stack.enter_async_context(running(log, ESTATE, clock))
        graph = await stack.enter_async_context(
            running(other_log, GRAPH, clock, open_feed=lambda name: logs[name].feed())
        )
        models = {"registry": estate.models, "dependencies": graph.models}
        reads = {name: Reads(one, clock, b"s" * 32) for name, one in models.items()}
        routes = {
            "registry": registry_routes(reads["registry"], log.reader),
            "dependencies": dependencies_routes(reads["dependencies"], other_log.reader),
        }
        made = World(logs, {"registry": estate, "dependencies": graph}, routes)
        for name, own in routes.items():
            made.callers[name] = await stack.enter_async_context(open_to_all(own))
        yield made


@asynccontextmanager
async def open_to_all(
    routes: Sequence[Route], *, public_reads: bool = True
) -> AsyncIterator[aiohttp.ClientSession]:
    app = build_app(routes, authenticator=FakeAuthenticator(), info=INFO, public_reads=public_reads)
    async with serve(app, "127.0.0.1", 0) as server, aiohttp.ClientSession(server.url) as caller:
        yield caller
