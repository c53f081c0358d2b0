"""Owns the HTTP door of a simulated process: its routes and endpoints, called without a socket.

Must not decide anything; what is asked goes through the same code as in service.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from aiohttp import hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from shared.auth.principals import Principal, Role
from shared.commands.doors import Doors
from shared.commands.routes import command_routes, submission_routes
from shared.eventstore.writer import LogWriter
from shared.http.endpoint import CORRELATION_ID, Endpoint, make_endpoint
from shared.http.problems import Problem
from shared.messaging.submissions import Submissions

_ORGANISATION: Final = "X-Organisation"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client is told: an answer, or the name of a problem."""

    answer: Mapping[str, Any]
    problem: str | None = None


class _Authenticator:
    """Believes whoever says which organisation it is."""

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal:
        organisation = headers[_ORGANISATION]
        return Principal(organisation, "http", frozenset({Role.EMITTER}), organisation)


class HttpDoor:
    """The command and submission routes of one process."""

    def __init__(self, doors: Doors, writer: LogWriter, submissions: Submissions) -> None:
        routes = (*command_routes(doors, writer), *submission_routes(doors, writer, submissions))
        self._endpoints: dict[str, Endpoint] = {
            route.path: make_endpoint(route, _Authenticator())
            for route in routes
            if route.method == "POST"
        }

    async def post(
        self, path: str, organisation: str, body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        """Answer one request."""
        told = {hdrs.CONTENT_TYPE: "application/json", _ORGANISATION: organisation, **headers}
        request = _request(path, CIMultiDict(told), body)
        try:
            response = await self._endpoints[path](request)
        except Problem as problem:
            return Reply({}, problem.kind.slug)
        assert isinstance(response, web.Response)
        return Reply(orjson.loads(cast("bytes", response.body)))


class _Nobody(BaseProtocol):
    """The connection of a request that has arrived whole."""

    ssl_context = peername = sockname = None


def _request(path: str, headers: CIMultiDict[str], body: bytes) -> web.Request:
    loop = asyncio.get_running_loop()
    connection = _Nobody(loop)
    content = StreamReader(connection, 2**16, loop=loop)
    content.feed_data(body)
    content.feed_eof()
    message = RawRequestMessage(
        method=hdrs.METH_POST,
        path=path,
        version=HttpVersion11,
        headers=CIMultiDictProxy(headers),
        raw_headers=(),
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL(path),
    )
    nobody: Any = None
    request = web.Request(message, content, cast("Any", connection), nobody, nobody, loop)
    request[CORRELATION_ID] = "crd_sim"
    return request
