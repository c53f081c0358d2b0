"""Owns reading the change feed by page: which changes come next, and how far that has looked.

Must not wait. A cursor promises that everything up to it was considered, in each log by itself.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.notifications.read_models.change import Change
from services.notifications.read_models.change_filter import ChangeFilter, existing_types
from services.notifications.read_models.cursor import Vector, furthest
from shared.contracts.names import Position
from shared.projections.projection import Connection

_PLAN_BY_PARAMETERS: Final = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"
"""Else one plan would have to serve every combination of filters."""

_WANTED: Final = """
    SELECT c.log, c.position, c.timeline, c.recorded_at, octet_length(c.body) AS size
    FROM changes AS c
    WHERE c.log = w.log AND c.position > w.after AND c.position <= w.upto
        AND (
            $5::text[] IS NULL
            OR c.services && $5
            OR c.subject = ANY(ARRAY(SELECT e.dependency FROM ends AS e WHERE e.name = ANY($5)))
        )
        AND ($6::text[] IS NULL OR c.organisations && $6)
"""
_OF_ANY_TYPE: Final = f"""
SELECT c.* FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (log, after, upto)
CROSS JOIN LATERAL ({_WANTED} ORDER BY c.position LIMIT $4) AS c
ORDER BY c.log, c.position
"""  # noqa: S608 - both parts are static text.
_OF_TYPES: Final = f"""
SELECT c.* FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w (log, after, upto)
CROSS JOIN unnest($7::text[]) AS t (type)
CROSS JOIN LATERAL ({_WANTED} AND c.type = t.type ORDER BY c.position LIMIT $4) AS c
ORDER BY c.log, c.position
"""  # noqa: S608 - both parts are static text.
"""Type by type, each in its own order from the index; the first $4 of each log are complete."""
_CHANGES: Final = """
SELECT c.log, c.position, c.timeline, c.type, c.organisations, c.recorded_at, c.body,
    c.services || ARRAY(SELECT e.name FROM ends AS e WHERE e.dependency = c.subject) AS services
FROM unnest($1::text[], $2::bigint[]) AS w (log, position)
JOIN changes AS c USING (log, position)
"""
_TIMELINES: Final = """
SELECT c.log, c.timeline
FROM unnest($1::text[], $2::bigint[]) AS w (log, position)
JOIN changes AS c USING (log, position)
"""


class ForeignCursorError(Exception):
    """The cursor names a place of `log` that is not in this history: the log was restored since."""

    def __init__(self, log: str) -> None:
        super().__init__(log)
        self.log = log


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in the order of recording, each log's in its own order; where to go on from.

    `has_more` tells that more changes that are wanted lie behind `next` already.
    """

    changes: Sequence[Change]
    next: Vector
    has_more: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    where: Position
    recorded_at: datetime
    size: int


async def check_history(connection: Connection, heads: Vector, cursor: Vector) -> None:
    """Refuse a cursor of a history that a restored log no longer has.

    Whether a cursor that is further on than what was read here is of this history is not known yet.

    Raises: ForeignCursorError.
    """
    begun = [position for position in cursor.values() if position.position > 0]
    known = [place for place in begun if place.position <= heads[place.log].position]
    timelines = await _timelines(connection, known)
    for place in begun:
        head = heads[place.log]
        is_known = place.log in timelines
        foreign = (
            timelines[place.log] != place.timeline if is_known else head.timeline > place.timeline
        )
        if foreign:
            raise ForeignCursorError(place.log)


async def read_changes(
    connection: Connection,
    heads: Vector,
    after: Vector,
    wanted: ChangeFilter,
    *,
    limit: int,
    max_bytes: int,
) -> ChangePage:
    """At most `limit` changes and about `max_bytes` behind `after`; one at least if there is one.

    `connection` is a snapshot that reflects `heads`. Logs that are not wanted are not considered:
    the cursor stays where it is in them.
    """
    waiting = await _candidates(connection, heads, after, wanted, limit + 1)
    chosen, rest = _choose(waiting, limit, max_bytes)
    changes = await _changes(connection, chosen)
    considered = await _considered(connection, heads, after, chosen, rest, wanted)
    return ChangePage(changes, considered, bool(rest))


async def _candidates(
    connection: Connection, heads: Vector, after: Vector, wanted: ChangeFilter, limit: int
) -> dict[str, list[_Candidate]]:
    logs = [log for log in wanted.logs if log in heads]
    behind = [log for log in logs if after[log].position < heads[log].position]
    if not behind:
        return {}
    await connection.execute(_PLAN_BY_PARAMETERS)
    arguments = (
        behind,
        [after[log].position for log in behind],
        [heads[log].position for log in behind],
        limit,
        *wanted.touched(),
    )
    types = await existing_types(connection, wanted)
    if types is None:
        rows = await connection.fetch(_OF_ANY_TYPE, *arguments)
    else:
        rows = await connection.fetch(_OF_TYPES, *arguments, types)
    found: dict[str, list[_Candidate]] = {}
    for log, position, timeline, recorded_at, size in rows:
        place = Position(log, position, timeline)
        found.setdefault(log, []).append(_Candidate(place, recorded_at, size))
    return found


def _choose(
    waiting: Mapping[str, Sequence[_Candidate]], limit: int, max_bytes: int
) -> tuple[list[Position], dict[str, Position]]:
    """What goes on the page, and the first of each log that does not."""
    chosen: list[Position] = []
    rest: dict[str, Position] = {}
    size = 0
    for candidate in heapq.merge(*waiting.values(), key=lambda c: (c.recorded_at, c.where.log)):
        size += candidate.size
        is_full = len(chosen) >= limit or (size > max_bytes and chosen)
        if rest or is_full:
            rest.setdefault(candidate.where.log, candidate.where)
        else:
            chosen.append(candidate.where)
    return chosen, rest


async def _changes(connection: Connection, places: Sequence[Position]) -> list[Change]:
    if not places:
        return []
    rows = await connection.fetch(_CHANGES, *_columns(places))
    found = {(row["log"], row["position"]): row for row in rows}
    return [
        Change(
            where=place,
            type=row["type"],
            services=frozenset(row["services"]),
            organisations=frozenset(row["organisations"]),
            recorded_at=row["recorded_at"],
            body=row["body"],
        )
        for place in places
        for row in (found[place.log, place.position],)
    ]


async def _considered(
    connection: Connection,
    heads: Vector,
    after: Vector,
    chosen: Iterable[Position],
    rest: Mapping[str, Position],
    wanted: ChangeFilter,
) -> Vector:
    """Up to the head where nothing was left over, else up to just before what was."""
    considered = dict(after) | {place.log: place for place in chosen}
    for log in wanted.logs:
        if log in heads and log not in rest:
            considered[log] = furthest(considered[log], heads[log])
    skipped = [
        Position(log, left.position - 1)
        for log, left in rest.items()
        if left.position - 1 > considered[log].position
    ]
    timelines = await _timelines(connection, skipped)
    for place in skipped:
        considered[place.log] = Position(place.log, place.position, timelines[place.log])
    return considered


async def _timelines(connection: Connection, places: Sequence[Position]) -> dict[str, int]:
    """The timelines of the events at these places, at most one for each log."""
    if not places:
        return {}
    rows = await connection.fetch(_TIMELINES, *_columns(places))
    return {row["log"]: row["timeline"] for row in rows}


def _columns(places: Sequence[Position]) -> tuple[list[str], list[int]]:
    return [place.log for place in places], [place.position for place in places]
