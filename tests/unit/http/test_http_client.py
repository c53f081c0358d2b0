"""The client: safe retries, one deadline, problems as errors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from shared.http.client import ApiClient, ApiError, ApiUnreachable
from shared.http.problems import OVERLOADED, Problem
from shared.http.routing import ANYONE, Call, Reply, Route, build_app
from shared.http.server import RunningServer, ServerLimits, serve
from tests.unit.http.sample_service import INFO, FakeAuthenticator, Reason


@dataclass
class Flaky:
    """Fails as often as told, then answers."""

    failures: int = 0
    calls: list[Call] = field(default_factory=list)

    async def answer(self, call: Call) -> Reply:
        self.calls.append(call)
        if len(self.calls) <= self.failures:
            raise Problem(OVERLOADED, headers={"Retry-After": "0"})
        return Reply(body={"tries": len(self.calls)}, headers={"ETag": '"3"'})

    async def hang(self, call: Call) -> Reply:
        self.calls.append(call)
        await asyncio.Event().wait()
        return Reply()


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


@pytest.fixture
async def flaky_server(flaky: Flaky) -> AsyncIterator[RunningServer]:
    routes = [
        Route(
            method="GET",
            path="/x",
            handler=flaky.answer,
            allow=ANYONE,
            operation_id="g",
            summary="g",
        ),
        Route(
            method="POST",
            path="/x",
            handler=flaky.answer,
            allow=ANYONE,
            operation_id="p",
            summary="p",
            body=Reason,
            body_required=False,
            takes_if_match=True,
        ),
        Route(
            method="GET",
            path="/hang",
            handler=flaky.hang,
            allow=ANYONE,
            operation_id="h",
            summary="h",
        ),
    ]
    app = build_app(routes, authenticator=FakeAuthenticator(), info=INFO)
    limits = ServerLimits(shutdown_s=0.1)
    async with serve(app, "127.0.0.1", 0, limits=limits) as server:
        yield server


async def test_a_read_is_tried_again_while_the_service_is_busy(
    flaky: Flaky, flaky_server: RunningServer
) -> None:
    flaky.failures = 2
    async with ApiClient(flaky_server.url) as client:
        answer = await client.get("/x")
    assert answer.json() == {"tries": 3}
    assert answer.headers["etag"] == '"3"'


async def test_a_command_with_a_key_is_tried_again_with_the_same_key(
    flaky: Flaky, flaky_server: RunningServer
) -> None:
    flaky.failures = 1
    async with ApiClient(flaky_server.url, "emit") as client:
        await client.post("/x", {"reason": "because"}, idempotency_key="k-9", if_match=4)
    assert [call.idempotency_key for call in flaky.calls] == ["k-9", "k-9"]
    assert flaky.calls[1].if_match == 4
    assert flaky.calls[1].caller.id == "emitter-1"


async def test_a_command_without_a_key_is_sent_once(
    flaky: Flaky, flaky_server: RunningServer
) -> None:
    flaky.failures = 1
    async with ApiClient(flaky_server.url) as client:
        with pytest.raises(ApiError) as refused:
            await client.post("/x", {"reason": "because"})
    assert (refused.value.status, refused.value.slug) == (503, "overloaded")
    assert len(flaky.calls) == 1


async def test_a_problem_is_raised_with_its_document(flaky_server: RunningServer) -> None:
    async with ApiClient(flaky_server.url) as client:
        with pytest.raises(ApiError, match="404 There is nothing here") as refused:
            await client.get("/nowhere")
    assert refused.value.problem["type"] == "/problems/not-found"


async def test_a_service_that_does_not_answer_is_given_up_at_the_deadline(
    flaky_server: RunningServer,
) -> None:
    async with ApiClient(flaky_server.url, deadline_s=0.2) as client:
        with pytest.raises(ApiUnreachable, match="no answer within"):
            await client.get("/hang")


async def test_a_service_that_is_not_there_is_tried_until_the_deadline(
    unused_tcp_port: int,
) -> None:
    async with ApiClient(f"http://127.0.0.1:{unused_tcp_port}", deadline_s=0.3) as client:
        with pytest.raises(ApiUnreachable):
            await client.get("/x")
        with pytest.raises(ApiUnreachable, match="ClientConnectorError"):
            await client.post("/x", {})
