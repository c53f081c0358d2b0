"""Owns making an aiohttp application from routes; also the names that services import.

Must not hold a route of its own beyond the system's pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from shared.http.edge import make_edge, set_headers
from shared.http.endpoint import CORRELATION_ID, PRINCIPAL, make_endpoint
from shared.http.openapi import ServiceInfo
from shared.http.routes import (
    ANYONE,
    AUTHENTICATED,
    Access,
    Answer,
    Authenticator,
    Call,
    Handler,
    Reply,
    Route,
)
from shared.http.system_routes import SystemParts, system_routes
from shared.observability.health import Check
from shared.observability.metrics import Metrics

__all__ = [
    "ANYONE",
    "AUTHENTICATED",
    "CORRELATION_ID",
    "METRICS",
    "PRINCIPAL",
    "ROUTES",
    "Access",
    "Answer",
    "Authenticator",
    "Call",
    "Handler",
    "Reply",
    "Route",
    "ServiceInfo",
    "build_app",
]

ROUTES: web.AppKey[tuple[Route, ...]] = web.AppKey("routes", tuple)
METRICS = web.AppKey("metrics", Metrics)


def build_app(
    routes: Sequence[Route],
    *,
    authenticator: Authenticator,
    info: ServiceInfo,
    checks: Mapping[str, Check] | None = None,
    metrics: Metrics | None = None,
    public_reads: bool = False,
) -> web.Application:
    """Make the application: these routes and the system's, all behind the one edge.

    Unless `public_reads`, no route answers a caller without a key but the system's own.
    `app[ROUTES]` lists every route with its rule, `app[METRICS]` are its metrics.

    Raises: ValueError when two routes have the same address or operation id.
    """
    measures = metrics or Metrics(info.name, info.version)
    parts = SystemParts(info, checks or {}, measures)
    own = routes if public_reads else [route.closed() for route in routes]
    table = (*own, *system_routes(parts, own))
    _check_unique(table)
    app = web.Application(middlewares=[make_edge(measures)])
    app[ROUTES] = table
    app[METRICS] = measures
    app.on_response_prepare.append(set_headers)
    for route in sorted(table, key=_literals_first):
        _add(app, route, authenticator)
    return app


def _literals_first(route: Route) -> tuple[bool, ...]:
    """Order in which `/services/unowned` is found before `/services/{id}`."""
    return tuple(part.startswith("{") for part in route.path.split("/"))


def _check_unique(table: Sequence[Route]) -> None:
    for seen in ([(r.method, r.path) for r in table], [r.operation_id for r in table]):
        twice = {str(item) for item in seen if seen.count(item) > 1}  # type: ignore[arg-type]
        if twice:
            raise ValueError(f"declared twice: {', '.join(sorted(twice))}")


def _add(app: web.Application, route: Route, authenticator: Authenticator) -> None:
    endpoint: Any = make_endpoint(route, authenticator)
    methods = ["GET", "HEAD"] if route.method == "GET" and not route.stream else [route.method]
    for method in methods:
        app.router.add_route(method, route.path, endpoint)
