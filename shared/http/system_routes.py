"""Owns the pages every service has: health, metrics, its documents, its problems.

Must not need a credential or a database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import hdrs
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from shared.http.docs_page import docs_html, problem_html, problems_html
from shared.http.docs_style import STYLE
from shared.http.openapi import ServiceInfo, openapi_document
from shared.http.problems import NOT_FOUND, Problem, ProblemKind, problem_kind, problem_kinds
from shared.http.routes import ANYONE, Answer, Call, Handler, Reply, Route
from shared.http.shapes import Count, closed
from shared.observability.health import Check, readiness_document, run_checks
from shared.observability.metrics import EXPOSITION_TYPE, Metrics

_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_TAG = "System"


@closed
class Liveness(TypedDict):
    """The process runs."""

    alive: bool


@closed
class Checked(TypedDict):
    """What one check found."""

    ok: bool
    detail: str
    duration_ms: Count


@closed
class Readiness(TypedDict):
    """Ready when every check is ok."""

    ready: bool
    checks: dict[str, Checked]


@closed
class KindOfProblem(TypedDict):
    """What a problem means, and what to do."""

    type: str
    title: str
    status: int
    advice: str


@closed
class KindsOfProblem(TypedDict):
    """Every kind of problem."""

    items: list[KindOfProblem]


_READY: Final = {
    "ready": True,
    "checks": {"database": {"ok": True, "detail": "", "duration_ms": 2}},
}


@dataclass(frozen=True, slots=True)
class SystemParts:
    """What the system pages show."""

    info: ServiceInfo
    checks: Mapping[str, Check]
    metrics: Metrics


def _document(kind: ProblemKind) -> dict[str, object]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "advice": kind.advice,
    }


_KIND: Final = _document(NOT_FOUND)


class _Documents:
    """The documents of a service, made when first asked for and kept."""

    def __init__(self, info: ServiceInfo) -> None:
        self._info = info
        self._routes: Sequence[Route] = ()
        self._openapi: bytes | None = None
        self._page: bytes | None = None

    def describe(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    async def openapi(self, _call: Call) -> Reply:
        if self._openapi is None:
            document = openapi_document(self._routes, self._info)
            self._openapi = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        return Reply(body=self._openapi)

    async def page(self, _call: Call) -> Reply:
        if self._page is None:
            document = openapi_document(self._routes, self._info)
            self._page = docs_html(document).encode("utf-8")
        return _html(self._page)


def system_routes(parts: SystemParts, own: Sequence[Route]) -> tuple[Route, ...]:
    """The system routes of a service that has these routes of its own."""
    documents = _Documents(parts.info)
    routes = (*_health_routes(parts), *_document_routes(documents))
    documents.describe((*own, *routes))
    return routes


def _system_route(path: str, handler: Handler, name: str, summary: str, answer: Answer) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        allow=ANYONE,
        authenticate=False,
        operation_id=name,
        summary=summary,
        tag=_TAG,
        answers={200: answer},
    )


def _health_routes(parts: SystemParts) -> tuple[Route, ...]:
    async def livez(_call: Call) -> Reply:
        return Reply(body=b'{"alive":true}')

    async def readyz(_call: Call) -> Reply:
        document = readiness_document(await run_checks(parts.checks))
        return Reply(200 if document["ready"] else 503, document)

    async def metrics(call: Call) -> Reply:
        body, content_type = parts.metrics.exposition(call.request.headers.get(hdrs.ACCEPT, ""))
        return Reply(body=body, content_type=content_type)

    ready = Answer("Ready; 503 with the same body when not", TypeAdapter(Readiness), _READY)
    measures = Answer("The metrics", content_type=EXPOSITION_TYPE)
    return (
        _system_route(
            "/livez",
            livez,
            "livez",
            "Whether the process runs",
            Answer("It runs", TypeAdapter(Liveness), {"alive": True}),
        ),
        _system_route("/readyz", readyz, "readyz", "Whether it can serve, check by check", ready),
        _system_route("/metrics", metrics, "metrics", "Metrics for Prometheus", measures),
    )


def _document_routes(documents: _Documents) -> tuple[Route, ...]:
    page = Answer("A page", content_type=_HTML)
    document = Answer("It", TypeAdapter(dict[str, Any]), {"openapi": "3.1.0", "paths": {}})
    kind = Answer("A page, or JSON", TypeAdapter(KindOfProblem), _KIND, _HTML)
    kinds = Answer("A page, or JSON", TypeAdapter(KindsOfProblem), {"items": [_KIND]}, _HTML)
    style = Answer("The style sheet", content_type=_CSS)
    return (
        _system_route(
            "/openapi.json", documents.openapi, "openapi", "This API as OpenAPI 3.1", document
        ),
        _system_route("/docs", documents.page, "docs", "This API as a page", page),
        _system_route("/docs/style.css", _style, "docs_style", "The style of the pages", style),
        _system_route("/problems", _problem_index, "problems", "Every kind of problem", kinds),
        _system_route(
            "/problems/{slug}", _problem_page, "problem", "What a problem means, what to do", kind
        ),
    )


def _html(body: bytes) -> Reply:
    return Reply(body=body, headers={"Content-Security-Policy": _PAGE_POLICY}, content_type=_HTML)


async def _style(_call: Call) -> Reply:
    headers = {"Cache-Control": "public, max-age=3600"}
    return Reply(body=STYLE, headers=headers, content_type=_CSS)


def _wants_json(call: Call) -> bool:
    accept = call.request.headers.get(hdrs.ACCEPT, "")
    return "json" in accept and "text/html" not in accept


async def _problem_index(call: Call) -> Reply:
    kinds = problem_kinds()
    if _wants_json(call):
        return Reply(body={"items": [_document(kind) for kind in kinds]})
    return _html(problems_html(kinds).encode("utf-8"))


async def _problem_page(call: Call) -> Reply:
    try:
        kind = problem_kind(call.path["slug"])
    except KeyError:
        raise Problem(NOT_FOUND) from None
    if _wants_json(call):
        return Reply(body=_document(kind))
    return _html(problem_html(kind).encode("utf-8"))
