"""The edge on a real socket: rules first, strict input, problems for everything else."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shared.http.problems import PROBLEM_JSON
from shared.http.routing import ROUTES
from shared.http.server import RunningServer
from tests.unit.http.sample_service import Seen

EMIT = {"Authorization": "Bearer emit"}
AUDIT = {"Authorization": "Bearer audit"}
COMMAND = {**EMIT, "Idempotency-Key": "k-1", "Content-Type": "application/json"}
GOOD = b'{"name":"Maps"}'


async def problem_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == PROBLEM_JSON
    document: dict[str, Any] = await response.json(content_type=PROBLEM_JSON)
    assert document["status"] == response.status
    assert document["correlation_id"] == response.headers["X-Correlation-Id"]
    return document


async def test_a_command_reaches_its_handler(caller: aiohttp.ClientSession, seen: Seen) -> None:
    response = await caller.post("/v1/things", data=GOOD, headers=COMMAND)
    assert response.status == 201
    assert await response.json() == {"name": "Maps"}
    call = seen.calls[0]
    assert (call.caller.id, call.idempotency_key, call.raw_body) == ("emitter-1", "k-1", GOOD)
    assert call.json == {"name": "Maps"}


FOREIGN = {"Origin": "https://elsewhere.example", "Cookie": "session=1"}
PREFLIGHT = {
    **FOREIGN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}
ANSWERS = [
    ("GET", "/v1/things", EMIT, 200),
    ("POST", "/v1/things", COMMAND, 201),
    ("GET", "/v1/stream", EMIT, 200),
    ("GET", "/livez", {}, 200),
    ("GET", "/metrics", {}, 200),
    ("GET", "/openapi.json", {}, 200),
    ("GET", "/docs", {}, 200),
    ("GET", "/docs/style.css", {}, 200),
    ("GET", "/problems", {}, 200),
    ("GET", "/problems/not-found", {}, 200),
    ("HEAD", "/v1/things", EMIT, 200),
    ("GET", "/v1/things?limit=x", EMIT, 400),
    ("GET", "/v1/things", {}, 401),
    ("POST", "/v1/things", AUDIT, 403),
    ("GET", "/nowhere", EMIT, 404),
    ("DELETE", "/v1/things", EMIT, 405),
    ("GET", "/v1/crash", {}, 500),
    ("OPTIONS", "/v1/things", PREFLIGHT, 405),
    ("OPTIONS", "/docs", PREFLIGHT, 405),
    ("OPTIONS", "/nowhere", PREFLIGHT, 404),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), ANSWERS)
async def test_answers_carry_security_headers(
    caller: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = GOOD if method == "POST" else None
    response = await caller.request(method, path, headers={**FOREIGN, **headers}, data=body)
    assert response.status == status
    carried = response.headers
    assert carried["X-Content-Type-Options"] == "nosniff"
    # The style of the pages tells nothing, so that it may be kept.
    assert carried["Cache-Control"] == "no-store" or path == "/docs/style.css"
    assert carried["Referrer-Policy"] == "no-referrer"
    assert carried["Cross-Origin-Resource-Policy"] == "same-origin"
    assert carried["Server"] == "estate"
    policy = carried["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert response.content_type != "text/html" or "form-action 'none'" in policy
    assert not grants(list(carried))


def grants(names: list[str]) -> list[str]:
    """The headers by which an answer would open a session, or be opened to another site."""
    return [name for name in names if name.lower().startswith(("set-cookie", "access-control-"))]


@pytest.mark.parametrize("sent", ["abc-1.2_3", None, "two words", "x" * 65, "caf\u00e9"])
async def test_a_correlation_id_is_taken_or_made(
    caller: aiohttp.ClientSession, sent: str | None
) -> None:
    headers = {"X-Correlation-Id": sent} if sent else {}
    response = await caller.get("/livez", headers=headers)
    returned = response.headers["X-Correlation-Id"]
    assert returned == sent if sent == "abc-1.2_3" else len(returned) == 32


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({}, 401, "unauthenticated"),
        ({"Authorization": "Bearer nobody"}, 401, "unauthenticated"),
        (AUDIT, 403, "forbidden"),
    ],
)
async def test_the_rule_is_applied_before_anything_is_read(
    caller: aiohttp.ClientSession, seen: Seen, headers: dict[str, str], status: int, slug: str
) -> None:
    response = await caller.post("/v1/things?x=%ff", data=b"{{{" * 100_000, headers=headers)
    assert response.status == status
    assert (await problem_of(response))["type"] == f"/problems/{slug}"
    assert seen.calls == []


@pytest.mark.parametrize(
    ("body", "status", "slug", "pointer"),
    [
        (b'{"name":"a","name":"b"}', 400, "malformed-json", "/name"),
        (b'{"name":"a","count":1.0}', 400, "malformed-json", "/count"),
        (b'{"name":"a","count":NaN}', 400, "malformed-json", "/count"),
        (b"[" * 60_000, 400, "malformed-json", ""),
        (b"\xff", 400, "malformed-json", ""),
        (b"", 400, "malformed-json", ""),
        (b'{"name":"a\\u0000"}', 422, "invalid-request", "/name"),
        (b'{"name":"\\ud800"}', 422, "invalid-request", "/name"),
        (b'{"name":""}', 422, "invalid-request", "/name"),
        (b"{}", 422, "invalid-request", "/name"),
        (b'{"name":"a","kind":"castle"}', 422, "invalid-request", "/kind"),
        (b'{"name":"a","count":"1"}', 422, "invalid-request", "/count"),
        (b'{"name":"a","actor":"me"}', 422, "invalid-request", "/actor"),
        (b'{"name":"a","tags":["x",2]}', 422, "invalid-request", "/tags/1"),
        (b"[]", 422, "invalid-request", ""),
        (b'"canary-7f3a"', 422, "invalid-request", ""),
        (b'{"name":"a","kind":"canary-7f3a"}', 422, "invalid-request", "/kind"),
    ],
)
async def test_a_bad_body_is_refused_with_its_place_and_without_its_text(
    caller: aiohttp.ClientSession, seen: Seen, body: bytes, status: int, slug: str, pointer: str
) -> None:
    response = await caller.post("/v1/things", data=body, headers=COMMAND)
    assert response.status == status
    document = await problem_of(response)
    assert document["type"] == f"/problems/{slug}"
    assert document["errors"][0]["pointer"] == pointer
    text = await response.text()
    assert "canary" not in text
    assert "pydantic" not in text
    assert seen.calls == []


@pytest.mark.parametrize(
    ("changed", "status", "slug"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/cloudevents+json"}, 415, "unsupported-media-type"),
        ({"Content-Encoding": "gzip"}, 415, "content-encoding-refused"),
        ({"Content-Encoding": "br"}, 415, "content-encoding-refused"),
        ({"Idempotency-Key": ""}, 400, "bad-request"),
        ({"Idempotency-Key": "x" * 201}, 400, "bad-request"),
        ({"Idempotency-Key": "a b"}, 400, "bad-request"),
        ({"Idempotency-Key": "caf\u00e9"}, 400, "bad-request"),
        ({"If-Match": '"1"'}, 400, "bad-request"),
    ],
)
async def test_a_bad_header_is_refused(
    caller: aiohttp.ClientSession, changed: dict[str, str], status: int, slug: str
) -> None:
    response = await caller.post("/v1/things", data=GOOD, headers={**COMMAND, **changed})
    assert response.status == status
    assert (await problem_of(response))["type"] == f"/problems/{slug}"


async def test_json_with_a_utf8_charset_is_taken(caller: aiohttp.ClientSession) -> None:
    headers = {**COMMAND, "Content-Type": 'application/json; charset="UTF-8"'}
    assert (await caller.post("/v1/things", data=GOOD, headers=headers)).status == 201


async def test_a_command_without_its_key_is_refused(caller: aiohttp.ClientSession) -> None:
    headers = {**EMIT, "Content-Type": "application/json"}
    response = await caller.post("/v1/things", data=GOOD, headers=headers)
    assert response.status == 400
    assert "Idempotency-Key" in (await problem_of(response))["detail"]


@pytest.mark.parametrize(
    "value", ["*", 'W/"1"', "1", '"1", "2"', '"01"', '"x"', '"' + "9" * 30 + '"']
)
async def test_only_one_strong_etag_is_taken(caller: aiohttp.ClientSession, value: str) -> None:
    response = await caller.post("/v1/things/maps/retire", headers={**EMIT, "If-Match": value})
    assert response.status == 400
    await problem_of(response)


async def test_an_optional_body_may_be_left_out(caller: aiohttp.ClientSession) -> None:
    response = await caller.post("/v1/things/maps/retire", headers={**EMIT, "If-Match": '"7"'})
    assert await response.json() == {"reason": None, "if_match": 7}


async def test_a_body_over_the_limit_is_refused(caller: aiohttp.ClientSession) -> None:
    response = await caller.post("/v1/things", data=b" " * 70_000, headers=COMMAND)
    assert response.status == 413
    await problem_of(response)


async def test_a_body_over_the_limit_in_chunks_is_refused(caller: aiohttp.ClientSession) -> None:
    async def chunks() -> Any:
        for _ in range(70):
            yield b" " * 1000

    response = await caller.post("/v1/things", data=chunks(), headers=COMMAND)
    assert response.status == 413


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("colour=red", "/colour"),
        ("limit=1&limit=2", "/limit"),
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=1_0", "/limit"),
        ("limit=%EF%BC%91", "/limit"),
        ("limit=", "/limit"),
        ("limit=1.0", "/limit"),
        ("limit=+1", "/limit"),
        ("as_of=yesterday", "/as_of"),
        ("as_of=2026-02-30", "/as_of"),
        ("as_of=2026-01-01T00:00:00", "/as_of"),
        ("known_at=registry:", "/known_at"),
        ("known_at=registry:1,registry:2", "/known_at"),
        ("cursor=", "/cursor"),
        ("dry_run=perhaps", "/dry_run"),
        ("dry_run=yes", "/dry_run"),
        ("dry_run=1", "/dry_run"),
        ("dry_run=True", "/dry_run"),
        ("%3Cscript%3E=1", "/<script>"),
    ],
)
async def test_a_bad_parameter_is_named(
    caller: aiohttp.ClientSession, query: str, pointer: str
) -> None:
    response = await caller.get(f"/v1/things?{query}", headers=EMIT)
    assert response.status == 400
    document = await problem_of(response)
    assert document["type"] == "/problems/bad-query"
    assert document["errors"][0]["pointer"] == pointer


async def test_all_bad_parameters_are_named_at_once(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/things?as_of=noon&limit=1e1&dry_run=on", headers=EMIT)
    errors = (await problem_of(response))["errors"]
    assert [one["pointer"] for one in errors] == ["/limit", "/dry_run", "/as_of"]


@pytest.mark.parametrize("query", ["a=%ff", "a=%00", "a=%0a"])
async def test_a_query_that_is_not_text_is_refused(server: RunningServer, query: str) -> None:
    status, _ = await raw_exchange(server, things_with(query))
    assert status == 400


@pytest.mark.parametrize("count", [51, 1000])
async def test_parameters_past_the_limit_are_refused_unread(
    server: RunningServer, count: int
) -> None:
    query = "&".join(f"p-{number}" for number in range(count))
    status, body = await raw_exchange(server, things_with(query))
    assert status == 400
    assert b"More than 50 parameters" in body
    assert b"p-0" not in body


def things_with(query: str) -> str:
    return f"GET /v1/things?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer emit\r\n\r\n"


async def test_parameters_are_read(caller: aiohttp.ClientSession) -> None:
    query = "limit=7&as_of=2026-03-31&known_at=registry:12,dependencies@2:4&dry_run=true"
    response = await caller.get(f"/v1/things?{query}", headers=EMIT)
    assert await response.json() == {
        "limit": 7,
        "as_of": "2026-03-31T23:59:59.999999Z",
        "dry_run": True,
        "known_at": {"registry": 12, "dependencies": 4},
    }


async def test_a_plus_sign_lost_to_form_encoding_is_understood(server: RunningServer) -> None:
    _, body = await raw_exchange(
        server,
        "GET /v1/things?as_of=2026-01-01T01:00:00+01:00 HTTP/1.1\r\nHost: x\r\n"
        "Authorization: Bearer emit\r\nConnection: close\r\n\r\n",
    )
    assert b'"2026-01-01T00:00:00Z"' in body


async def raw_exchange(server: RunningServer, request: str | bytes) -> tuple[int, bytes]:
    """Send bytes as they are; the status (0 for a closed connection) and the rest."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request if isinstance(request, bytes) else request.encode("latin-1"))
    try:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            body = await reader.readexactly(0 if request[:4] in {"HEAD", b"HEAD"} else length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""
    finally:
        writer.close()
    return int(head.split(b" ")[1]), body


TRICKS = [
    "/v1/things/",
    "//v1/things",
    "/v1//things",
    "/v1/./things",
    "/v1/x/../things",
    "/v1/%2e/things",
    "/v1/x/%2e%2e/things",
    "/v1/%74hings",
    "/V1/things",
    "/v1/things%2f",
    "/v1/things/..%2f..%2fetc",
    "/v1/things/%00",
    "/v1/things/a%00b",
    "/v1/things/a%2fb",
    "/v1/things/a%5cb",
    "/v1/things/a%0ab",
    "/v1/things/%ff",
    "/v1/things/%c0%af",
    "/v1/things/..",
    "/v1/things/.",
    "/v1/things/UPPER",
    "/v1/things/a b",
    "/v1/things;x=1",
    "/v1/things/" + "a" * 101,
    "/v1/things/" + "%41" * 2000,
    "http://other/v1/things",
    "*",
    "/v1/things#x",
    "/v1/things/cmdb:%e2%80",
    "/docs/../docs",
    "/problems/..%2f",
    "/v1/things/%E1%80",
    "/v1/things/%zz",
]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
@pytest.mark.parametrize("target", TRICKS)
async def test_no_spelling_of_a_path_gets_round_the_table(
    server: RunningServer, target: str, method: str
) -> None:
    request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer emit\r\n\r\n"
    status, _ = await raw_exchange(server, request)
    assert status in {400, 404, 405}


@pytest.mark.parametrize(
    ("segment", "value"),
    [
        ("maps", "maps"),
        ("thg_" + "0" * 32, "thg_" + "0" * 32),
        ("cmdb:APP-1", "cmdb:APP-1"),
        ("cmdb:APP%201", "cmdb:APP 1"),
        ("cmdb:caf%C3%A9", "cmdb:caf\u00e9"),
    ],
)
async def test_ids_slugs_and_aliases_are_taken(
    server: RunningServer, segment: str, value: str
) -> None:
    request = f"GET /v1/things/{segment} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer audit\r\n\r\n"
    status, body = await raw_exchange(server, request)
    assert status == 200
    assert f'"id":"{value}"'.encode() in body


async def test_a_literal_path_wins_over_a_parameter(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/things/lost", headers=EMIT)
    assert response.status == 409
    document = await problem_of(response)
    assert document["detail"] == "It is retired."
    assert document["positions"] == "registry:5"


async def test_another_method_is_refused_with_the_ones_served(
    caller: aiohttp.ClientSession,
) -> None:
    response = await caller.delete("/v1/things", headers=EMIT)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, POST"
    await problem_of(response)
    overridden = await caller.post("/v1/crash", headers={**EMIT, "X-HTTP-Method-Override": "GET"})
    assert overridden.status == 405


async def test_head_answers_like_get_without_a_body(caller: aiohttp.ClientSession) -> None:
    response = await caller.head("/v1/things", headers=EMIT)
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0
    assert await response.read() == b""
    assert (await caller.head("/v1/stream", headers=EMIT)).status == 405


async def test_a_read_with_a_body_is_refused(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/things", data=b"{}", headers=EMIT)
    assert response.status == 400


async def test_a_crash_tells_the_caller_nothing(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/crash")
    assert response.status == 500
    document = await problem_of(response)
    assert document["type"] == "/problems/internal"
    assert "detail" not in document


async def test_a_timeout_in_a_handler_is_503(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/slow", headers=EMIT)
    assert response.status == 503
    assert response.headers["Retry-After"] == "2"


async def test_a_lost_backing_service_is_503_and_never_says_that_a_command_failed(
    caller: aiohttp.ClientSession,
) -> None:
    read = await caller.get("/v1/lost", headers=EMIT)
    assert (await problem_of(read))["type"] == "/problems/not-ready"
    command = await caller.post("/v1/lost", headers=EMIT)
    assert (await problem_of(command))["type"] == "/problems/outcome-unknown"


async def test_a_line_break_in_a_header_of_the_answer_is_a_crash(
    caller: aiohttp.ClientSession,
) -> None:
    assert (await caller.get("/v1/header", headers=EMIT)).status == 500


async def test_a_stream_is_passed_through(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/stream", headers=EMIT)
    assert await response.text() == "data: 1\n\n"
    assert response.headers["X-Correlation-Id"]


async def test_a_stream_that_crashes_is_cut_off(caller: aiohttp.ClientSession) -> None:
    response = await caller.get("/v1/broken-stream", headers=EMIT)
    with pytest.raises(aiohttp.ClientError):
        await response.read()


SMUGGLING = [
    (
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "GET /livez HTTP/1.1\nHost: x\n\n",
    "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chonked\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
    "GET /livez\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "NONSENSE\r\n\r\n",
    "GET /" + "a" * 10_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + "a" * 10_000 + "\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: x\r\n" + "X-A: a\r\n" * 1000 + "\r\n",
    "GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("request_text", SMUGGLING)
async def test_http_that_could_be_read_in_two_ways_is_refused(
    server: RunningServer, request_text: str
) -> None:
    status, body = await raw_exchange(server, request_text)
    assert status == 400
    assert b"/problems/malformed-http" in body
    assert (b"It may have 64 headers" in body) == (request_text.count("X-A") > 64)
    assert (b"Its first line may have 8190 bytes" in body) == ("a" * 10_000 in request_text)


async def test_even_malformed_http_is_answered_with_the_security_headers(
    server: RunningServer,
) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"NONSENSE\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    for line in (
        *(b"X-Content-Type-Options: nosniff", b"Cache-Control: no-store", b"Server: estate"),
        b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    ):
        assert line in head
    assert not grants(head.decode().splitlines())


@pytest.mark.parametrize("target", ["GET /livez", "GET /nowhere", "TRACE /livez"])
@pytest.mark.parametrize(
    ("expect", "status"),
    [(b"100-continue", 100), (b"200-ok", 417), (b"\xff", 417), (b"\xed\xa0\x80", 417)],
)
async def test_only_one_expectation_is_met(
    server: RunningServer, target: str, expect: bytes, status: int
) -> None:
    request = f"{target} HTTP/1.1\r\nHost: x\r\nExpect: ".encode() + expect + b"\r\n\r\n"
    found, body = await raw_exchange(server, request)
    assert found == status
    assert status == 100 or b"/problems/expectation-failed" in body


async def test_broken_chunks_are_refused(server: RunningServer) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in COMMAND.items())
    status, _ = await raw_exchange(
        server,
        f"POST /v1/things HTTP/1.1\r\nHost: x\r\n{head}Transfer-Encoding: chunked\r\n\r\n"
        "3\r\n{}\n\r\nzz\r\n",
    )
    assert status == 400


async def test_a_compressed_body_is_not_inflated(caller: aiohttp.ClientSession, seen: Seen) -> None:
    bomb = b"\x1f\x8b\x08" + b"\x00" * 100
    response = await caller.post(
        "/v1/things", data=bomb, headers={**COMMAND, "Content-Encoding": "gzip"}
    )
    assert response.status == 415
    assert seen.calls == []


async def test_metrics_count_by_template_and_never_by_path(caller: aiohttp.ClientSession) -> None:
    await caller.get("/v1/things/canary-7f3a", headers=EMIT)
    await caller.get("/canary-7f3a", headers=EMIT)
    await caller.request("CANARY", "/v1/things", headers=EMIT)
    text = await (await caller.get("/metrics")).text()
    assert 'route="/v1/things/{id}",status="200"' in text
    assert 'route="none",status="404"' in text
    assert "canary" not in text.lower()
    assert 'estate_build_info{service="sample",version="1.2.3"} 1.0' in text


def test_every_route_is_listed_with_its_rule(app: web.Application) -> None:
    table = {(route.method, route.path): route.allow for route in app[ROUTES]}
    assert ("GET", "/livez") in table
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served == set(table)
