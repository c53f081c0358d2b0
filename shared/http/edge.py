"""Owns the outermost layer of every request: correlation id, problems, headers, measures.

Must not know any route.
"""

import re
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import hdrs, web
from structlog.contextvars import bind_contextvars

from shared.clock import IdSource, new_id
from shared.http.endpoint import CORRELATION_ID
from shared.http.problems import (
    BAD_REQUEST,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PROBLEM_JSON,
    TIMED_OUT,
    TOO_LARGE,
    Problem,
    ProblemKind,
)
from shared.observability.metrics import Metrics

CORRELATION_HEADER = "X-Correlation-Id"
_CORRELATION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"

_SERVER_NAME: Final = "estate"
_SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    (hdrs.CACHE_CONTROL, "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_KIND_OF_STATUS: dict[int, ProblemKind] = {
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
}
_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Any]


def make_edge(metrics: Metrics, *, new_correlation_id: IdSource = new_id) -> Any:
    """The one middleware: nothing that happens behind it leaves as anything but an answer."""

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        correlation_id = _correlation_id(request, new_correlation_id)
        request[CORRELATION_ID] = correlation_id
        bind_contextvars(correlation_id=correlation_id)
        metrics.in_flight.inc()
        status = 499
        try:
            response = await _answered(request, handler)
            status = response.status
        finally:
            metrics.in_flight.dec()
            _measure(request, metrics, status, time.perf_counter() - started)
        return response

    return edge


def _correlation_id(request: web.Request, new_correlation_id: IdSource) -> str:
    sent = request.headers.get(CORRELATION_HEADER)
    if sent is not None and _CORRELATION.fullmatch(sent):
        return sent
    return new_correlation_id("")


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Problem as problem:
        if problem.kind.status >= INTERNAL.status:
            _log.warning("request_failed", problem=problem.kind.slug, detail=problem.detail)
        return _problem_answer(request, problem)
    except web.HTTPException as error:
        return _problem_answer(request, _from_http_exception(error))
    except web.RequestPayloadError:
        return _problem_answer(
            request, Problem(BAD_REQUEST, "The body does not follow its framing.")
        )
    except ConnectionError:
        raise  # The caller has gone; there is nobody to answer.
    except TimeoutError:
        _log.warning("request_timed_out", exc_info=True)
        return _problem_answer(request, Problem(TIMED_OUT))
    except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer.
        _log.exception("request_crashed", method=request.method, route=_route(request))
        return _problem_answer(request, Problem(INTERNAL))
    return response


def _from_http_exception(error: web.HTTPException) -> Problem:
    kind = _KIND_OF_STATUS.get(error.status, BAD_REQUEST)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(kind, headers={hdrs.ALLOW: allowed})
    return Problem(kind)


def _problem_answer(request: web.Request, problem: Problem) -> web.Response:
    if request.writer.output_size > 0:
        # The answer had begun, so the only honest end is a broken connection.
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the answer broke off")
    return problem_response(problem, request[CORRELATION_ID])


def problem_response(problem: Problem, correlation_id: str | None) -> web.Response:
    """A problem as an answer."""
    headers = {hdrs.CONTENT_TYPE: PROBLEM_JSON, **problem.headers}
    response = web.Response(
        status=problem.kind.status, body=problem.body(correlation_id), headers=headers
    )
    if problem.headers.get(hdrs.CONNECTION) == "close":
        response.force_close()
    return response


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the correlation id and the security headers on every answer, streams too."""
    correlation_id = request.get(CORRELATION_ID)
    if correlation_id is not None:
        response.headers[CORRELATION_HEADER] = correlation_id
    secure(response)


def secure(response: web.StreamResponse) -> None:
    """Put the security headers on an answer, and a `Server` that tells nothing."""
    headers = response.headers
    for name, value in _SECURITY_HEADERS:
        headers.setdefault(name, value)
    headers.popall(hdrs.SERVER, None)
    headers[hdrs.SERVER] = _SERVER_NAME


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return _NO_ROUTE if resource is None else resource.canonical


def _measure(request: web.Request, metrics: Metrics, status: int, duration_s: float) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    route = _route(request)
    metrics.answered(route, method, status, duration_s)
    level = "debug" if method in {"GET", "HEAD"} and status < INTERNAL.status else "info"
    getattr(_log, level)(
        "request_answered",
        method=method,
        route=route,
        status=status,
        duration_ms=round(duration_s * 1000, 1),
    )
