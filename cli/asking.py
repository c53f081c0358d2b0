"""Owns asking a service: one answer, a whole list, and failures in words.

Must not print an answer, nor ask for more than was wanted.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
import structlog

from cli.connection import READER_ROLES, Connection
from cli.failures import Failure, NothingRuns, Refused, ended_by, tell_of_kafka_once
from shared.http.client import ApiClient, ApiError, ApiUnreachable

MAX_PAGE: Final = 200
_DEADLINE_S: Final = 30.0
_PROBE_S: Final = 5.0
_ADVICE_S: Final = 2.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Service:
    """One service that answers."""

    name: str
    api: ApiClient

    async def document(self, path: str, query: Mapping[str, str | None]) -> dict[str, Any]:
        """Ask for one document; parameters without a value are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        answer = (await self.api.get(path, given)).json()
        if not isinstance(answer, dict):
            raise NothingRuns(f"The service {self.name} answered {path} with something else.")
        return answer

    async def whole_list(
        self, path: str, query: Mapping[str, str | None], limit: int | None = None
    ) -> dict[str, Any]:
        """Ask for a list, page after page, as one: `items` has all, or the first `limit` of them.

        Positions and lag are those of the first page, whose moment the others share.
        """
        items: list[Any] = []
        first: dict[str, Any] | None = None
        cursor: str | None = None
        while first is None or cursor is not None:
            size = MAX_PAGE if limit is None else min(MAX_PAGE, limit - len(items))
            page = await self.document(path, {**query, "limit": str(size), "cursor": cursor})
            first = first or page
            items += _items(page, self.name, path)
            before, cursor = cursor, page.get("next")
            if cursor == before or (limit is not None and len(items) >= limit):
                break
        return {**first, "items": items, "next": cursor}


def _items(page: Mapping[str, Any], service: str, path: str) -> list[Any]:
    items = page.get("items")
    if not isinstance(items, list):
        raise NothingRuns(f"The service {service} answered {path} without a list.")
    return [item for item in items if isinstance(item, dict)]


def segment(reference: str) -> str:
    """A reference as one segment of a path."""
    return quote(reference, safe="")


@asynccontextmanager
async def service(
    connection: Connection,
    name: str,
    *,
    roles: Sequence[str] = READER_ROLES,
    deadline_s: float = _DEADLINE_S,
) -> AsyncIterator[Service]:
    """Have a service to ask inside the block.

    Raises: WrongUse, NothingRuns, Refused.
    """
    url = connection.url(name)
    key = connection.key(roles)
    await _probe(name, url)
    try:
        async with ApiClient(url, key, deadline_s=deadline_s) as api:
            try:
                yield Service(name, api)
            except ApiError as error:
                raise Refused(name, error.problem, await _advice(api, error)) from error
    except ApiUnreachable as error:
        raise NothingRuns(f"The service {name} does not answer: {error}", _START) from error
    except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
        detail = f"What answers at {url} does not speak the interface of the service {name}."
        raise NothingRuns(detail, "Check the address.") from error


_START: Final = "See what `estate status` says; start a local run with `make demo`."


async def _probe(name: str, url: str) -> None:
    """Tell at once when nobody listens, which the client would try again for long."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise NothingRuns(f"The service {name} does not answer at {url}.", _START) from error
    writer.close()


async def _advice(api: ApiClient, error: ApiError) -> str | None:
    """What the service's own page says to do about a problem."""
    if not error.slug:
        return None
    path = f"/problems/{segment(error.slug)}"
    try:
        async with asyncio.timeout(_ADVICE_S):
            answer = await api.request("GET", path, headers={"Accept": "application/json"})
        advice = answer.json().get("advice")
    except (ApiError, ApiUnreachable, TimeoutError, aiohttp.ClientError, ValueError):
        return None
    except AttributeError:  # Not a document.
        return None
    return advice if isinstance(advice, str) else None


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work; a failure is said and ends the command with its exit code."""
    _keep_logs_off_the_answer()
    try:
        return asyncio.run(work)
    except Failure as failure:
        raise ended_by(failure) from None


def _keep_logs_off_the_answer() -> None:
    """Let only errors of what we build on be logged, to stderr: stdout is the answer's."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
    tell_of_kafka_once()
