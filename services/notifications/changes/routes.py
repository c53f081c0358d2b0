"""Owns the routes of the change feed: pulling a page, following a stream.

Must not hold a query or a filter's rule.
"""

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web

from services.notifications.changes.answers import CHANGES
from services.notifications.changes.feed import ChangeFeed, Found
from services.notifications.changes.parameters import ChangesQuery, PullQuery
from services.notifications.changes.stream import STREAM_HEADERS, ChangeStream
from services.notifications.read_models.change_filter import ChangeFilter
from services.notifications.read_models.cursor import Vector, parse_cursor, write_cursor
from shared.http.problems import BAD_REQUEST, Problem
from shared.http.routes import AUTHENTICATED, Answer, Call, Reply, Route

LAST_EVENT_ID: Final = "Last-Event-ID"
_TAG: Final = "Changes"
_ORDER: Final = (
    "Every event of every log, whatever its type, in the bytes that the log holds. The order is "
    "promised within one log only; between logs it is that of recording as far as it was seen. A "
    "cursor says how far each log was considered under the filter it was made with: keep the "
    "filter while you follow. It stays valid when the read model is made anew."
)


def change_routes(feed: ChangeFeed) -> tuple[Route, ...]:
    """The routes of a feed that was started, or will be."""
    return (_pull_route(feed), _stream_route(feed))


def _pull_route(feed: ChangeFeed) -> Route:
    async def pull(call: Call[None, PullQuery]) -> Reply:
        start = call.query.start()
        wanted = await feed.begin(start, call.query.wanted())
        found = await _pulled(feed, start, wanted, call.query)
        return Reply(body=_document(start, found))

    return Route(
        method="GET",
        path="/v1/changes",
        handler=pull,
        allow=AUTHENTICATED,
        operation_id="list_changes",
        summary="What has changed since",
        description=f"{_ORDER}\n\n`next` is always there: ask again with it as `after`.",
        tag=_TAG,
        query=PullQuery,
        answers={200: CHANGES},
        problems=("foreign-cursor", "not-ready"),
    )


async def _pulled(feed: ChangeFeed, start: Vector, wanted: ChangeFilter, query: PullQuery) -> Found:
    """A page; with none yet, wait for one as long as the caller said."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + query.wait_s
    found = await feed.pull(start, wanted, query.limit)
    while not found.page.changes and not feed.tail.is_ending and clock() < deadline:
        await feed.tail.wait_for_wanted(found.page.next, wanted, deadline - clock())
        found = await feed.pull(found.page.next, wanted, query.limit)
    return found


def _document(start: Vector, found: Found) -> dict[str, Any]:
    at = dict(start)
    items = []
    for change in found.page.changes:
        at[change.log] = change.where
        items.append(
            {
                "cursor": write_cursor(at),
                "log": change.log,
                "position": str(change.where),
                "event": orjson.Fragment(change.body),
            }
        )
    return {
        "items": items,
        "next": write_cursor(found.page.next),
        "positions": str(found.reflection),
        "lag_ms": found.reflection.lag_ms,
    }


def _stream_route(feed: ChangeFeed) -> Route:
    async def stream(call: Call[None, ChangesQuery]) -> web.StreamResponse:
        cursor = _last_event_id(call.request) or call.query.start()
        with feed.place():
            wanted = await feed.begin(cursor, call.query.wanted())
            response = web.StreamResponse(headers=STREAM_HEADERS)
            await response.prepare(call.request)
            await ChangeStream(feed, call.request, response, cursor, wanted).run()
        return response

    return Route(
        method="GET",
        path="/v1/changes/stream",
        handler=stream,
        allow=AUTHENTICATED,
        operation_id="stream_changes",
        summary="What changes, as it changes",
        description=f"{_ORDER}\n\nServer-sent events: `id` is a cursor, `event` the type, `data` "
        "the event on one line. Reconnecting with `Last-Event-ID`, which wins over `after`, goes "
        "on behind it. An `id` without data says how far a filtered stream has looked. A reader "
        "that takes nothing for ten seconds is cut; streams end now and then, to be opened anew.",
        tag=_TAG,
        query=ChangesQuery,
        answers={200: Answer("Changes, without end", content_type="text/event-stream")},
        problems=("bad-request", "foreign-cursor", "overloaded", "not-ready"),
        stream=True,
    )


def _last_event_id(request: web.Request) -> Vector | None:
    values = request.headers.getall(LAST_EVENT_ID, ())
    if not values:
        return None
    if len(values) > 1:
        raise Problem(BAD_REQUEST, f"{LAST_EVENT_ID} is given more than once.")
    try:
        return parse_cursor(values[0])
    except ValueError as error:
        raise Problem(BAD_REQUEST, f"{LAST_EVENT_ID} {error}.") from None
