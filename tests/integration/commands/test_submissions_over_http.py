import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest_asyncio
from multidict import CIMultiDictProxy

from services.registry.services.decider import SERVICE
from services.registry.services.routes import COMMANDS
from shared.auth.principals import Principal, Role
from shared.clock import SystemClock, new_id
from shared.commands.doors import Doors
from shared.commands.routes import submission_routes
from shared.database.provision import DatabaseAccess
from shared.eventstore.writer import LogWriter
from shared.http.routing import build_app
from shared.http.server import serve
from shared.messaging.submissions import Submissions
from tests.support.builders import CABINET, TREASURY, emitter
from tests.unit.http.sample_service import INFO

PHASE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "2026-01-31/1",
    "source": "crm",
    "type": "estate.service.change_phase.v1",
    "subject": "crm:77",
    "data": {"phase": "live"},
}
REGISTRATION = PHASE | {
    "id": "1",
    "type": "estate.service.register.v1",
    "data": {"name": "Licence Finder", "kind": "component"},
}
NOBODY_S = "nobody-s"


class ByName:
    """Whoever names an organisation may submit for it."""

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal | None:
        name = headers.get("Authorization", "").removeprefix("Bearer ")
        if name == NOBODY_S:
            return Principal("prn_x", "crd_x", frozenset({Role.EMITTER}))
        return emitter(name)


class Door:
    """The submissions door of a registry."""

    def __init__(self, caller: aiohttp.ClientSession, pool: "asyncpg.Pool[Any]") -> None:
        self.caller = caller
        self.pool = pool

    async def submit(self, tree: Any, by: str = CABINET) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {by}"}
        async with self.caller.post("/v1/submissions", json=tree, headers=headers) as response:
            return response.status, await response.json()

    async def status(self, tree: Any = PHASE, by: str = CABINET) -> Any:
        query = {"source": tree["source"], "id": tree["id"]}
        headers = {"Authorization": f"Bearer {by}"}
        async with self.caller.get("/v1/submissions", params=query, headers=headers) as response:
            assert response.status == 200
            return await response.json()

    async def kept(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM messaging.rejections"))


@pytest_asyncio.fixture
async def door(database: DatabaseAccess) -> AsyncIterator[Door]:
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(asyncpg.create_pool(database.app_dsn, min_size=0))
        writer = LogWriter(
            lambda: asyncpg.connect(database.app_dsn), {SERVICE.kind: SERVICE}, clock, new_id
        )
        await writer.start()
        stack.push_async_callback(writer.stop)
        doors = Doors(COMMANDS, clock, new_id)
        routes = submission_routes(doors, writer, Submissions(pool))
        app = build_app(routes, authenticator=ByName(), info=INFO)
        server = await stack.enter_async_context(serve(app, "127.0.0.1", 0))
        yield Door(await stack.enter_async_context(aiohttp.ClientSession(server.url)), pool)


async def test_what_was_refused_is_told_to_its_sender_until_it_is_accepted(door: Door) -> None:
    code, problem = await door.submit(PHASE)
    assert (code, problem["type"]) == (404, "/problems/unknown-reference")
    status = await door.status()
    assert status["status"] == "rejected"
    assert status["rejected"]["type"] == "/problems/unknown-reference"
    assert (await door.status(by=TREASURY))["status"] == "unknown"
    assert (await door.submit(REGISTRATION))[0] == 200
    corrected = PHASE | {"data": {"phase": "beta"}}
    assert (await door.submit(corrected))[0] == 200
    assert (await door.status())["status"] == "accepted"
    assert (await door.submit(PHASE))[1]["type"] == "/problems/key-reused"
    assert (await door.status())["status"] == "accepted"


async def test_of_a_batch_each_refused_event_is_kept_as_if_it_had_come_alone(door: Door) -> None:
    bad_form = PHASE | {"id": "2", "data": {"phase": "gone"}}
    other_type = PHASE | {"id": "3", "type": "estate.service.explode.v1"}
    code, answer = await door.submit([PHASE, bad_form, other_type, REGISTRATION])
    assert code == 200
    kinds = [one.get("rejected", {}).get("type", "") for one in answer["results"]]
    assert [kind.rpartition("/")[2] for kind in kinds] == [
        "unknown-reference",
        "invalid-request",
        "unknown-command",
        "",
    ]
    assert answer["results"][1]["rejected"]["errors"][0]["pointer"] == "/1/data/phase"
    rejected = (await door.status(bad_form))["rejected"]
    assert rejected["errors"][0]["pointer"] == "/data/phase"
    assert (await door.status(other_type))["status"] == "rejected"
    assert (await door.status(REGISTRATION))["status"] == "accepted"
    assert await door.kept() == 3


async def test_what_nobody_could_ask_for_is_not_kept(door: Door) -> None:
    for tree in (
        PHASE | {"id": "with space"},
        PHASE | {"source": "CRM"},
        {name: value for name, value in PHASE.items() if name != "id"},
        "text",
    ):
        assert (await door.submit([tree]))[0] == 200
    assert (await door.submit(PHASE, NOBODY_S))[0] == 403
    assert await door.kept() == 0


async def test_a_refusal_that_is_repeated_is_kept_once_and_none_for_ever(door: Door) -> None:
    insert = """
    INSERT INTO messaging.rejections (organisation, source, id, reason, recorded_at, published_at)
    SELECT $1, 'crm', 'old-' || n, '{}', now() - n * interval '10 days', now()
    FROM generate_series(1, 5) AS n
    """
    await door.pool.execute(insert, CABINET)
    for _ in range(3):
        await door.submit(PHASE)
    await door.submit(PHASE | {"subject": "Not A Reference"})
    assert (await door.status())["rejected"]["type"] == "/problems/invalid-request"
    assert await door.kept() == 3
    assert (await door.status(PHASE | {"id": "old-4"}))["status"] == "unknown"


async def test_what_may_pass_is_no_refusal(door: Door) -> None:
    await door.pool.execute("UPDATE log.head SET halted = 'by a test'")
    assert (await door.submit(PHASE))[0] == 503
    assert (await door.submit([PHASE, PHASE | {"id": "with space"}]))[0] == 503
    assert await door.kept() == 0


async def test_a_command_that_changes_nothing_is_recorded_when_it_was_decided(door: Door) -> None:
    await door.submit(REGISTRATION)
    delisted = PHASE | {"type": "estate.service.reinstate.v1", "data": {}}
    assert (await door.submit(delisted))[1]["events"] == []
    ages = await door.pool.fetch(
        "SELECT clock_timestamp() - recorded_at < interval '1 minute' AS fresh,"
        " recorded_at > (SELECT recorded_at FROM log.head) AS later"
        " FROM log.commands ORDER BY recorded_at"
    )
    assert [(row["fresh"], row["later"]) for row in ages] == [(True, False), (True, True)]
