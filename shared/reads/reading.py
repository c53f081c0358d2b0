"""Owns what every read does before and after its question: moment, waiting, snapshot, positions.

Must not hold a question of its own.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from shared.clock import Clock, format_instant, parse_instant
from shared.contracts.known_at import EVERYTHING, KnownAt
from shared.contracts.names import Position, parse_positions
from shared.database.errors import UNREACHABLE
from shared.eventstore.reader import LogReader
from shared.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, read_cursor, sign_cursor
from shared.http.problems import (
    BAD_QUERY,
    NOT_KNOWN_THEN,
    NOT_READY,
    NOT_YET_VISIBLE,
    Fault,
    Problem,
)
from shared.http.routes import Call
from shared.http.times import AsOf, KnownAtParameter
from shared.projections.awaiter import UnknownLogError, wait_for
from shared.projections.projection import Connection
from shared.projections.read_models import ReadModels, ReadModelUnavailableError, Reflection
from shared.reads.moment import Moment

MIN_POSITION_WAIT_S: Final = 10.0


def _positions(value: object) -> tuple[Position, ...]:
    try:
        return parse_positions(str(value))
    except ValueError:
        raise ValueError("is not a list of positions such as registry:123") from None


PositionsParameter = Annotated[
    tuple[Position, ...],
    PlainValidator(_positions),
    WithJsonSchema({"type": "string", "examples": ["registry:123"]}),
]


class MomentQuery(BaseModel):
    """Query of every read of one thing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: AsOf | None = None
    known_at: KnownAtParameter | None = None
    min_position: PositionsParameter | None = Field(
        default=None, description="Answer only once this much is visible, as a command answered it."
    )


Q = TypeVar("Q", bound=MomentQuery)


class PageQuery(MomentQuery):
    """Query of every read of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in hand: the snapshot to ask, the moment it is about, what the answer reflects."""

    connection: Connection
    moment: Moment
    reflection: Reflection
    now: datetime
    of: bytes
    after: str = ""

    def answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document with the positions that it reflects."""
        return {
            **document,
            "positions": str(self.reflection),
            "lag_ms": self.reflection.lag_ms,
        }


class Reads:
    """Asks a projection's read models on behalf of HTTP callers."""

    def __init__(
        self, models: ReadModels, clock: Clock, cursor_secret: bytes, own: LogReader | None = None
    ) -> None:
        self._models = models
        self._own = own
        self._clock = clock
        self._cursor_secret = cursor_secret

    @asynccontextmanager
    async def ask(self, call: Call[None, Q]) -> AsyncIterator[Asked]:
        """Wait for `min_position`, then open a snapshot for one question.

        Raises: Problem `not-yet-visible`, `not-ready`, and `bad-query` for a foreign cursor.
        """
        query, of = call.query, _list_of(call)
        async with database_needed():
            if query.min_position is not None:
                await self._wait(query.min_position)
            after, moment = self._start(query, of)
            async with self._models.snapshot() as connection:
                reflection = await self._models.reflection(connection)
                _check_timelines(query, reflection)
                yield Asked(connection, moment, reflection, self._clock.now(), of, after)

    def page(self, asked: Asked, items: list[Any], last: str | None) -> dict[str, Any]:
        """The answer of a list; `last` is the sort key to go on from, None at the end.

        The cursor pins the moment, so that pages agree whatever is written between them.
        """
        cursor = None
        if last is not None:
            positions = {log: p.position for log, p in asked.reflection.positions.items()}
            known = asked.moment.known
            content = {
                "after": last,
                "as_of": format_instant(asked.moment.as_of),
                "is_bounded": asked.moment.is_bounded,
                "positions": positions | dict(known.positions),
                "recorded_at": known.recorded_at and format_instant(known.recorded_at),
            }
            cursor = sign_cursor(content, self._cursor_secret, asked.of)
        return Page(items, cursor, str(asked.reflection), asked.reflection.lag_ms).document()

    async def _wait(self, positions: tuple[Position, ...]) -> None:
        try:
            visible = await wait_for(self._models, positions, 0)
            if not visible:
                await self._check_written(positions)
                visible = await wait_for(self._models, positions, MIN_POSITION_WAIT_S)
        except UnknownLogError as error:
            fault = Fault("/min_position", "names a log that is not followed here")
            raise Problem(BAD_QUERY, errors=[fault]) from error
        if not visible:
            raise Problem(NOT_YET_VISIBLE)

    async def _check_written(self, positions: tuple[Position, ...]) -> None:
        """Refuse to wait for what is not in the service's own log: nobody was given that place."""
        if self._own is None:
            return
        head = await self._own.head()
        end = Position(head.log, head.position, head.timeline)
        for one in positions:
            at = (one.timeline, one.position)
            if one.log == end.log and at > (end.timeline, end.position):
                raise Problem(
                    BAD_QUERY, errors=[Fault("/min_position", f"lies beyond the log's end, {end}")]
                )

    def _start(self, query: MomentQuery, of: bytes) -> tuple[str, Moment]:
        if isinstance(query, PageQuery) and query.cursor is not None:
            content = read_cursor(query.cursor, self._cursor_secret, of)
            known = KnownAt(_instant(content["recorded_at"]), content["positions"])
            as_of, is_bounded = parse_instant(content["as_of"]), content["is_bounded"]
            return content["after"], Moment(as_of, known, is_present=False, is_bounded=is_bounded)
        return "", moment_of(query, self._clock)


def _list_of(call: Call[None, Q]) -> bytes:
    """Which list a call is about: its address and filters, whatever the moment and the page."""
    filters = call.query.model_dump(mode="json", exclude=set(PageQuery.model_fields))
    address = call.request.rel_url.raw_path
    return orjson.dumps([address, filters], option=orjson.OPT_SORT_KEYS)


def _check_timelines(query: MomentQuery, reflection: Reflection) -> None:
    """A position of a timeline that was restored away says nothing about this history."""
    named = {} if query.known_at is None else query.known_at.timelines
    for log, timeline in named.items():
        known = reflection.positions.get(log)
        if known is not None and known.timeline != timeline:
            fault = Fault("/known_at", f"the log {log} is on timeline {known.timeline}")
            raise Problem(BAD_QUERY, errors=[fault])


def moment_of(query: MomentQuery, clock: Clock) -> Moment:
    """The moment that a query is about; without parameters the present, by all that is known."""
    is_present = query.as_of is None and query.known_at is None
    known, is_bounded = query.known_at or EVERYTHING, query.as_of is not None
    return Moment(query.as_of or clock.now(), known, is_present, is_bounded)


@asynccontextmanager
async def database_needed() -> AsyncIterator[None]:
    """Answer 503 when the database cannot be reached, never a fault of ours."""
    try:
        yield
    except (*UNREACHABLE, ReadModelUnavailableError) as error:
        raise Problem(NOT_READY, "The database cannot be reached.") from error


def first_or_not_known(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The one document of what is known to exist.

    Raises: Problem `not-known-then` when the moment has none.
    """
    if not documents:
        raise Problem(NOT_KNOWN_THEN)
    return documents[0]


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)
