"""What callers without a credential reach: what a route made for them, and only where allowed."""

from typing import Any

import aiohttp
import pytest

from shared.http.openapi import openapi_document
from shared.http.routes import AUTHENTICATED, PUBLIC_OR_AUTHENTICATED, Call, Reply, Route
from shared.http.routing import build_app
from shared.http.server import serve
from tests.unit.http.sample_service import INFO, FakeAuthenticator


async def everything(call: Call) -> Reply:
    return Reply(body={"for": call.caller.id})


async def a_part(call: Call) -> Reply:
    assert call.principal is None
    return Reply(body={"for": "the public"})


def route(path: str, **more: Any) -> Route:
    said: dict[str, Any] = {
        "method": "GET",
        "allow": AUTHENTICATED,
        "operation_id": path[1:],
        "summary": "S",
    }
    return Route(path=path, handler=everything, **said | more)


OPEN = route("/part", allow=PUBLIC_OR_AUTHENTICATED, public=a_part)
ROUTES = (OPEN, route("/whole"))


async def asked(path: str, key: str | None = None, *, public_reads: bool = True) -> tuple[int, Any]:
    app = build_app(ROUTES, authenticator=FakeAuthenticator(), info=INFO, public_reads=public_reads)
    headers = {} if key is None else {"Authorization": key}
    async with (
        serve(app, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(server.url) as caller,
        caller.get(path, headers=headers) as response,
    ):
        return response.status, (await response.json()).get("for")


async def test_public_is_answered_by_what_was_made_for_it() -> None:
    assert await asked("/part") == (200, "the public")
    status, whom = await asked("/part", "Bearer audit")
    assert (status, whom) != (200, "the public")
    assert status == 200


async def test_route_that_made_nothing_for_the_public_is_closed() -> None:
    assert (await asked("/whole"))[0] == 401


async def test_credential_that_is_wrong_is_refused_and_not_the_public() -> None:
    assert (await asked("/part", "Bearer forged"))[0] == 401


async def test_nothing_is_public_unless_the_deployment_says_so() -> None:
    assert (await asked("/part", public_reads=False))[0] == 401
    assert (await asked("/part", "Bearer audit", public_reads=False))[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        {"allow": PUBLIC_OR_AUTHENTICATED},
        {"allow": AUTHENTICATED, "public": a_part},
        {"allow": PUBLIC_OR_AUTHENTICATED, "public": a_part, "method": "POST"},
    ],
)
def test_route_says_what_the_public_may_read_or_is_not_made(said: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="the public may read"):
        route("/part", **said)


def test_documents_say_that_no_credential_is_needed_where_none_is() -> None:
    described = openapi_document(ROUTES, INFO)["paths"]
    assert described["/part"]["get"]["security"] == [{}, {"bearer": []}]
    closed = openapi_document([OPEN.closed()], INFO)["paths"]
    assert closed["/part"]["get"]["security"] == [{"bearer": []}]
