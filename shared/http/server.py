"""Owns serving an application on a socket: limits on connections and headers, graceful stop.

Must not know what the application does.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import hdrs, http_exceptions, http_parser, web

from shared.http.edge import problem_response, secure
from shared.http.problems import EXPECTATION_FAILED, Problem, define_problem

_log = structlog.get_logger(__name__)

MALFORMED_HTTP = define_problem(
    "malformed-http",
    400,
    "The request does not follow HTTP",
    "Use a standard HTTP client; the request line, headers or framing are not acceptable.",
)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one process grants its callers."""

    header_deadline_s: float = 10.0
    keepalive_s: float = 75.0
    lingering_s: float = 2.0
    stalled_s: float = 15.0
    taken_bytes_per_s: int = 1024
    shutdown_s: float = 10.0
    max_connections: int = 1000
    max_line_bytes: int = 8190
    max_header_bytes: int = 8190
    max_headers: int = 64
    backlog: int = 256


class CannotListenError(Exception):
    """The address is not to be had: taken, not of this machine, or none at all."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host!r} port {port}: {reason}")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is listening."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base address, without a final slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class GuardedConnection(web.RequestHandler):
    """One connection of a bounded number, which must deliver each request head in time.

    aiohttp's own timer is as long as the keep-alive; a head
    that arrives byte by byte needs a shorter one. Who does not take what it is sent is cut, also
    when the connection is closing: it would keep its place among the bounded number for ever.
    """

    __slots__ = ("_left_bytes", "_limits", "_server", "_stalled", "_timer", "_wire")

    def __init__(self, server: web.Server, limits: ServerLimits, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport
        self._stalled: asyncio.TimerHandle | None = None
        self._left_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse the connection when there are too many, else start its deadline."""
        # aiohttp forgets its transport when it closes it, whatever is still to be sent.
        self._wire = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= self._limits.max_connections:
            _log.warning("connection_refused", reason="too many connections")
            self._wire.write(_FULL)
            self._wire.close()
            self._force_close = True
            return
        super().connection_made(transport)
        # So that writing pauses as soon as the caller does not take everything at once.
        self._wire.set_write_buffer_limits(high=0)
        self._arm()

    def pause_writing(self) -> None:
        """Give the caller a time to take what it was sent."""
        super().pause_writing()
        self._wait_for_taking()

    def resume_writing(self) -> None:
        """The caller has taken everything."""
        self._forgive()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a complete head stops the deadline, the beginning of one starts it."""
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._disarm()
        elif self._timer is None and not self._request_in_progress and not self._messages:
            self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the deadlines."""
        self._disarm()
        self._forgive()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused as a problem, without a traceback for every port scan.

        Raises: ConnectionError, at which aiohttp ends in silence, when the caller has gone.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= MALFORMED_HTTP.status + 100:
            return super().handle_error(request, status, exc, message)
        _log.info("request_malformed", error=type(exc).__name__)
        response = problem_response(Problem(MALFORMED_HTTP, self._what_was_wrong(exc)), None)
        secure(response)
        response.force_close()
        return response

    def _what_was_wrong(self, exc: BaseException | None) -> str | None:
        """Which bound the head of a request exceeds, if that is why; never the input itself."""
        if isinstance(exc, http_exceptions.LineTooLong):
            line, field = self._limits.max_line_bytes, self._limits.max_header_bytes
            return f"Its first line may have {line} bytes, a header {field}."
        if isinstance(exc, http_exceptions.BadHttpMessage) and "Too many headers" in exc.message:
            return f"It may have {self._limits.max_headers} headers."
        return None

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.header_deadline_s, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_taking(self) -> None:
        self._left_bytes = self._wire.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._stalled = loop.call_later(self._limits.stalled_s, self._cut_if_stalled)

    def _forgive(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _cut_if_stalled(self) -> None:
        taken = self._left_bytes - self._wire.get_write_buffer_size()
        if taken >= self._limits.taken_bytes_per_s * self._limits.stalled_s:
            self._wait_for_taking()
            return
        _log.info("connection_closed", reason="the answer was not taken in time")
        self._wire.abort()

    def _expire(self) -> None:
        self._timer = None
        if not self._request_in_progress:
            _log.info("connection_closed", reason="no complete request head in time")
            self.force_close()


def require_c_parser() -> None:
    """Refuse to serve on aiohttp's Python parser, whose leniency allowed request smuggling.

    Raises: RuntimeError.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("the C HTTP parser of aiohttp is not loaded")


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, *, limits: ServerLimits | None = None
) -> AsyncIterator[RunningServer]:
    """Serve the application while the context is open; port 0 takes a free one.

    On leaving: listening stops, requests under way get `shutdown_s` to end, then connections close.

    Raises: CannotListenError.
    """
    require_c_parser()
    chosen = limits or ServerLimits()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=chosen.shutdown_s)
    await runner.setup()
    try:
        listener = await _listen(runner, host, port, chosen)
        try:
            yield RunningServer(host, _port(listener.sockets[0]))
        finally:
            await _stop_listening(listener)
    finally:
        await runner.cleanup()


async def _stop_listening(listener: asyncio.Server) -> None:
    """Accept no more, then close, so that every connection that was accepted is known and closed.

    A listener that closes while a connection is on its way from `accept` to its protocol, which
    takes three turns of the loop, leaves it open with nobody to answer (CPython gh-109564).
    """
    loop = asyncio.get_running_loop()
    for listening in listener.sockets:
        loop.remove_reader(listening.fileno())
    for _turn in range(3):
        await asyncio.sleep(0)
    listener.close()


async def _listen(
    runner: web.AppRunner, host: str, port: int, limits: ServerLimits
) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the application did not start")
    server.request_handler = _refusing_expectations(server.request_handler)
    loop = asyncio.get_running_loop()

    def connection() -> GuardedConnection:
        return GuardedConnection(server, limits, loop=loop, **_connection_options(limits))

    try:
        return await loop.create_server(connection, host, port, backlog=limits.backlog)
    except OSError as error:
        raise CannotListenError(host, port, error.strerror or type(error).__name__) from error
    except ValueError as error:
        # What cannot even be asked of a name server.
        raise CannotListenError(host, port, "this is no address") from error


def _refusing_expectations(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse any expectation but `100-continue` with a problem, wherever a request goes.

    aiohttp does so by route, and where there is none in its own words, which fail on a value that
    is not UTF-8.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, "").lower() in {"", "100-continue"}:
            answer: web.StreamResponse = await handler(request)
            return answer
        response = problem_response(Problem(EXPECTATION_FAILED), None)
        secure(response)
        return response

    return handle


def _connection_options(limits: ServerLimits) -> dict[str, Any]:
    return {
        "keepalive_timeout": limits.keepalive_s,
        "lingering_time": limits.lingering_s,
        "max_line_size": limits.max_line_bytes,
        "max_field_size": limits.max_header_bytes,
        "max_headers": limits.max_headers,
        "auto_decompress": False,
        "access_log": None,
    }


def _port(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port
