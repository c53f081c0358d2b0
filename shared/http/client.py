"""Owns calling one of our services over HTTP: credential, safe retries, problems as errors.

Must not retry what could be done twice, and must not follow a redirect.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

DEFAULT_DEADLINE_S = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_RETRIED_STATUSES = frozenset({429, 503})
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class ApiError(Exception):
    """The service answered with a problem. `problem` is its document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        title = problem.get("title", "no problem document")
        detail = problem.get("detail")
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else ""))
        self.status = status
        self.problem = problem

    @property
    def slug(self) -> str:
        """The kind of problem, such as `not-found`; empty when the answer named none."""
        return str(self.problem.get("type", "")).rpartition("/")[2]


class ApiUnreachable(Exception):  # noqa: N818 - says what is true.
    """No answer came before the deadline."""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer that is not a problem."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return orjson.loads(self.body) if self.body else None


class ApiClient:
    """A client of one service; use as an async context manager. Safe for concurrent use.

    Retried until the deadline, with Retry-After or growing pauses: 429, 503 and broken connections,
    for reads and for commands with an Idempotency-Key only.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        connections: int = 100,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._deadline_s = deadline_s
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> ApiAnswer:
        """Read. Raises: ApiError, ApiUnreachable."""
        return await self.request("GET", path, query=query)

    async def post(
        self,
        path: str,
        body: Any = None,
        *,
        idempotency_key: str | None = None,
        if_match: int | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> ApiAnswer:
        """Send a command; bytes are sent as they are. Raises: ApiError, ApiUnreachable."""
        headers: dict[str, str] = {}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        raw = None
        if body is not None:
            headers["Content-Type"] = content_type
            raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.request("POST", path, raw=raw, headers=headers, query=query)

    async def request(
        self,
        method: str,
        path: str,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        """Send a request. Raises: ApiError, ApiUnreachable."""
        sent = dict(headers or {})
        may_repeat = method == "GET" or "Idempotency-Key" in sent
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._until_answered(method, path, raw, sent, query, may_repeat)
        except TimeoutError:
            detail = f"{self._base_url} gave no answer within {self._deadline_s:g} s"
            raise ApiUnreachable(detail) from None

    async def _until_answered(
        self,
        method: str,
        path: str,
        raw: bytes | None,
        headers: dict[str, str],
        query: Mapping[str, str] | None,
        may_repeat: bool,
    ) -> ApiAnswer:
        attempt = 0
        while True:
            pause = random.uniform(0.5, 1) * min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)  # noqa: S311 - spreads retries.
            try:
                answer = await self._once(method, path, raw, headers, query)
            except aiohttp.ClientConnectionError as error:
                if not may_repeat:
                    raise ApiUnreachable(f"{self._base_url}: {type(error).__name__}") from error
            else:
                if answer.status not in _RETRIED_STATUSES or not may_repeat:
                    return _checked(answer)
                pause = max(pause, _retry_after(answer))
                if self._too_late(pause):
                    return _checked(answer)
            attempt += 1
            await asyncio.sleep(pause)

    def _too_late(self, pause_s: float) -> bool:
        """Whether waiting can only end in the deadline, so that the problem tells more."""
        return pause_s >= self._deadline_s

    async def _once(
        self,
        method: str,
        path: str,
        raw: bytes | None,
        headers: dict[str, str],
        query: Mapping[str, str] | None,
    ) -> ApiAnswer:
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        async with self._session.request(
            method,
            self._base_url + path,
            data=raw,
            headers=headers,
            params=query,
            allow_redirects=False,
        ) as response:
            body = await response.content.read(MAX_ANSWER_BYTES)
            while chunk := await response.content.read(MAX_ANSWER_BYTES):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ApiUnreachable(f"{self._base_url} answered without end")
            return ApiAnswer(response.status, body, response.headers)


def _checked(answer: ApiAnswer) -> ApiAnswer:
    if 200 <= answer.status < 300:  # noqa: PLR2004 - the class of HTTP statuses.
        return answer
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = {}
    raise ApiError(answer.status, document if isinstance(document, dict) else {})


def _retry_after(answer: ApiAnswer) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0  # noqa: PLR2004 - a day.
