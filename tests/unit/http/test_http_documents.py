"""Documents: OpenAPI that validates, pages on their own feet, problems that explain."""

import re
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import ConfigDict

from shared.auth.principals import Role
from shared.http.problems import PROBLEM_JSON, define_problem, problem_kinds
from shared.http.routing import ANYONE, AUTHENTICATED, Call, Reply, Route, build_app
from tests.unit.http.sample_service import INFO, FakeAuthenticator, Register


async def _nothing(_call: Call) -> Reply:
    return Reply(204)


def route(**changed: Any) -> Route:
    settings: dict[str, Any] = {
        "method": "GET",
        "path": "/v1/x",
        "handler": _nothing,
        "allow": AUTHENTICATED,
        "operation_id": "x",
        "summary": "X",
    }
    return Route(**{**settings, **changed})


async def test_the_document_is_valid_openapi_31(caller: aiohttp.ClientSession) -> None:
    document = await (await caller.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


async def test_the_document_says_who_may_call_what(caller: aiohttp.ClientSession) -> None:
    paths = (await (await caller.get("/openapi.json")).json())["paths"]
    register = paths["/v1/things"]["post"]
    assert register["x-allow"] == ["admin", "emitter"]
    assert register["security"] == [{"bearer": []}]
    assert paths["/livez"]["get"]["security"] == []
    assert {"401", "403", "409", "413", "415", "422"} <= register["responses"].keys()
    names = {p["name"]: p for p in register["parameters"]}
    assert names["Idempotency-Key"]["required"] is True
    assert register["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "Register"
    )
    query = {p["name"]: p["schema"] for p in paths["/v1/things"]["get"]["parameters"]}
    assert query["limit"]["maximum"] == 200


class Page(HTMLParser):
    """Collects what could load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/not-found"])
async def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing(
    caller: aiohttp.ClientSession, path: str
) -> None:
    response = await caller.get(path)
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Page(await response.text())
    assert not {"script", "style", "iframe", "img", "form"} & set(page.tags)
    assert page.tags.count("h1") == 1
    for name, value in page.attributes:
        assert name != "style"
        assert not name.startswith("on")
        if name in {"href", "src"}:
            assert value.startswith(("/", "#"))
            assert not value.startswith("//")


async def test_the_docs_page_shows_every_operation(caller: aiohttp.ClientSession) -> None:
    text = await (await caller.get("/docs")).text()
    document = await (await caller.get("/openapi.json")).json()
    ids = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert all(f'id="{name}"' in text for name in ids)
    assert "Apply for a licence" in text
    assert re.search(r"May call: admin, emitter", text)


async def test_the_style_sheet_is_served(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/docs/style.css")
    assert response.content_type == "text/css"
    assert "http" not in await response.text()


async def test_every_problem_has_a_page(caller: aiohttp.ClientSession) -> None:
    for kind in problem_kinds():
        response = await caller.get(kind.type)
        assert response.status == 200
        assert kind.advice
        as_json = await caller.get(kind.type, headers={"Accept": "application/json"})
        assert (await as_json.json())["advice"] == kind.advice
    assert (await caller.get("/problems/none-such")).content_type == PROBLEM_JSON


def test_a_problem_cannot_be_defined_twice() -> None:
    with pytest.raises(ValueError, match="defined twice"):
        define_problem("not-found", 404, "x", "y")


def test_a_route_without_a_rule_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Route(method="GET", path="/x", handler=_nothing, operation_id="x", summary="X")  # type: ignore[call-arg]
    for rule in (None, frozenset(), {Role.ADMIN}, "admin", frozenset({"admin"})):
        with pytest.raises(TypeError):
            route(allow=rule)
    with pytest.raises(TypeError):
        route(authenticate=False)


def test_a_route_that_cannot_work_cannot_be_made() -> None:
    class Lenient(Register):
        model_config = ConfigDict(extra="allow")

    with pytest.raises(TypeError):
        route(method="POST", body=Lenient)
    with pytest.raises(KeyError):
        route(problems=("none-such",))
    with pytest.raises(ValueError, match="not a route"):
        route(method="BREW")


@pytest.mark.parametrize(
    "second", [{"operation_id": "y"}, {"path": "/v1/y"}, {"operation_id": "y", "path": "/livez"}]
)
def test_two_routes_with_one_name_or_address_are_refused(second: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="declared twice"):
        build_app([route(), route(**second)], authenticator=FakeAuthenticator(), info=INFO)


async def test_readiness_is_503_when_a_check_fails() -> None:
    from shared.http.server import serve  # noqa: PLC0415
    from shared.observability.health import Health  # noqa: PLC0415

    async def broken() -> Health:
        raise ConnectionError("postgres://u:secret@host")

    async def fine() -> Health:
        return Health(ok=True)

    app = build_app(
        [route(allow=ANYONE)],
        authenticator=FakeAuthenticator(),
        info=INFO,
        checks={"database": broken, "keys": fine},
    )
    async with serve(app, "127.0.0.1", 0) as server, aiohttp.ClientSession(server.url) as session:
        response = await session.get("/readyz")
        assert response.status == 503
        document = await response.json()
        assert document["ready"] is False
        assert document["checks"]["keys"]["ok"] is True
        assert document["checks"]["database"]["detail"] == "failed: ConnectionError"
        assert (await session.get("/livez")).status == 200
