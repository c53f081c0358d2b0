"""Owns the way of a request through a route: rule, headers, path, query, body, handler, answer.

Must not turn errors into answers; the edge middleware does.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web
from pydantic import BaseModel
from structlog.contextvars import bind_contextvars

from shared.auth.principals import Principal
from shared.http.problems import (
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    NOT_READY,
    OUTCOME_UNKNOWN,
    TIMED_OUT,
    UNAUTHENTICATED,
    Problem,
)
from shared.http.request_reading import (
    QueryReader,
    read_body,
    read_idempotency_key,
    read_if_match,
    read_json,
    read_model,
)
from shared.http.routes import Access, Authenticator, Call, PathReader, Reply, Route

CORRELATION_ID = web.RequestKey("correlation_id", str)
PRINCIPAL = web.RequestKey("principal", Principal)
_EMPTY_OBJECT = b"{}"
_log = structlog.get_logger(__name__)

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_endpoint(route: Route, authenticator: Authenticator) -> Endpoint:
    """The aiohttp handler of a route. Who may call is settled before anything else is looked at."""
    path_reader = PathReader(route)
    query_reader = QueryReader(route.query)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        principal = await _authorised(request, route, authenticator)
        raw_path, _, raw_query = request.raw_path.partition("?")
        path = path_reader.read(raw_path)
        if path is None:
            raise Problem(NOT_FOUND)
        query = query_reader.read(raw_query)
        key, version = _command_headers(request, route)
        raw_body, tree, body = await _body(request, route)
        correlation_id = request[CORRELATION_ID]
        call = Call(
            request, principal, body, query, path, correlation_id, raw_body, tree, key, version
        )
        return to_response(await _handled(route, call))

    return endpoint


async def _authorised(
    request: web.Request, route: Route, authenticator: Authenticator
) -> Principal | None:
    if not route.authenticate:
        return None
    principal = await authenticator.authenticate(request.headers)
    if principal is not None:
        request[PRINCIPAL] = principal
        bind_contextvars(actor=principal.id, credential_id=principal.credential_id)
    rule = route.allow
    if rule is Access.ANYONE or (principal is None and route.public is not None):
        return principal
    if principal is None:
        raise Problem(UNAUTHENTICATED, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
    if isinstance(rule, frozenset) and not principal.has_any(rule):
        raise Problem(FORBIDDEN)
    return principal


def _command_headers(request: web.Request, route: Route) -> tuple[str | None, int | None]:
    headers = request.headers
    if not route.is_command:
        return None, None
    key = read_idempotency_key(headers, required=route.requires_idempotency_key)
    version = read_if_match(headers)
    if version is not None and not route.takes_if_match:
        raise Problem(BAD_REQUEST, "If-Match is not taken here.")
    return key, version


async def _body(request: web.Request, route: Route) -> tuple[bytes, Any, Any]:
    if route.body is None:
        if request.can_read_body:
            raise Problem(
                BAD_REQUEST, "A body is not taken here.", headers={hdrs.CONNECTION: "close"}
            )
        return b"", None, None
    raw = await read_body(request, route)
    if not raw and not route.body_required:
        raw = _EMPTY_OBJECT
    tree = read_json(raw, route)
    return raw, tree, read_model(raw, tree, route.body)


async def _handled(route: Route, call: Call[Any, Any]) -> Reply | web.StreamResponse:
    # The one seam: without a credential only what is made for the public is ever asked.
    handler = route.handler
    if call.principal is None and route.public is not None:
        handler = route.public
    try:
        return await handler(call)
    except TimeoutError as error:
        raise Problem(TIMED_OUT) from error
    except OSError as error:
        transport = call.request.transport
        if transport is None or transport.is_closing():
            raise  # The caller has gone in the middle of a stream.
        _log.warning("backing_service_lost", route=route.operation_id, exc_info=True)
        raise Problem(OUTCOME_UNKNOWN if route.is_command else NOT_READY) from error


def to_response(answer: Reply | web.StreamResponse) -> web.StreamResponse:
    """The answer of a handler as aiohttp sends it."""
    if not isinstance(answer, Reply):
        return answer
    headers = {hdrs.CONTENT_TYPE: answer.content_type, **answer.headers}
    for value in headers.values():
        if "\r" in value or "\n" in value:
            raise ValueError("a header of the answer holds a line break")
    if answer.body is None:
        del headers[hdrs.CONTENT_TYPE]
        return web.Response(status=answer.status, headers=headers)
    return web.Response(status=answer.status, body=json_bytes(answer.body), headers=headers)


def json_bytes(value: Any) -> bytes:
    """A value as JSON; bytes pass through unchanged."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, BaseModel):
        return value.__pydantic_serializer__.to_json(value, by_alias=True)
    return orjson.dumps(value, default=_jsonable, option=orjson.OPT_UTC_Z)


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
