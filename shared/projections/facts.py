"""Owns facts in two times: how events state and correct them, and what held at (effective, known).

Must not know what any attribute means.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from shared.contracts.canonical import canonical_bytes
from shared.contracts.envelope import Event
from shared.contracts.events.model import EventData
from shared.contracts.known_at import EVERYTHING, KnownAt
from shared.projections.projection import Connection, Row, Table

FACTS_DDL: Final = Path(__file__).with_name("facts.sql")
FACTS_INDEXES: Final = Path(__file__).with_name("facts_indexes.sql")

FACTS: Final = Table(
    "facts",
    (
        "subject",
        "attribute",
        "value",
        "effective_from",
        "log",
        "position",
        "recorded_at",
    ),
    key=("log", "position", "subject", "attribute"),
    touches="subject",
)
RETRACTIONS: Final = Table(
    "retractions",
    ("log", "position", "by_position", "by_recorded_at"),
    key=("log", "position", "by_position"),
)
UPCOMING: Final = Table("upcoming", ("subject", "changes_at"), key=("subject",))

_WINNING: Final = """
SELECT subject, attribute, value, effective_from, position
FROM winning_facts($1, $2, $3, $4, $5)
"""
_HISTORY: Final = """
SELECT subject, attribute, value, effective_from, log, position, recorded_at,
    retracted_at_position, retracted_recorded_at
FROM facts WHERE subject = $1
ORDER BY effective_from, position, log, attribute
"""
_NEXT_CHANGES: Final = "SELECT subject, changes_at FROM next_changes($1, $2)"
_SUBJECTS_EVER: Final = "SELECT subjects_ever FROM subjects_ever($1, $2)"
_SETTLE: Final = """
WITH pending AS (
    DELETE FROM retractions RETURNING log, position, by_position, by_recorded_at
), first AS (
    SELECT DISTINCT ON (log, position) * FROM pending ORDER BY log, position, by_position
)
UPDATE facts AS f
SET retracted_at_position = r.by_position, retracted_recorded_at = r.by_recorded_at
FROM first AS r
WHERE f.log = r.log AND f.position = r.position AND f.retracted_at_position IS NULL
RETURNING f.subject
"""
_FORGET_UPCOMING: Final = "DELETE FROM upcoming WHERE subject = ANY($1)"
_NOTE_UPCOMING: Final = """
INSERT INTO upcoming (subject, changes_at) SELECT subject, changes_at FROM next_changes($1, $2)
"""
_DUE: Final = "SELECT subject FROM upcoming WHERE changes_at <= $1 ORDER BY changes_at LIMIT $2"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact as it is stored; `value` is parsed JSON."""

    subject: str
    attribute: str
    value: Any
    effective_from: datetime
    log: str
    position: int
    recorded_at: datetime
    retracted_at_position: int | None
    retracted_recorded_at: datetime | None


class Held(NamedTuple):
    """The value that an attribute had, since when, and by which event."""

    value: Any
    effective_from: datetime
    position: int


def state_facts(
    event: Event, data: EventData | None, subject: str, values: Mapping[str, Any]
) -> Iterator[Row]:
    """The rows by which an event states `values` (JSON) of a subject from its effective time on.

    What the event corrects is retracted; only what came before it can be. For a second subject
    of the same event use `more_facts`.
    """
    yield from more_facts(event, subject, values)
    for position in data.corrects if data is not None else ():
        if position < event.position:
            by = (event.position, event.recorded_at)
            yield Row(RETRACTIONS.name, (event.log, position, *by))


def more_facts(event: Event, subject: str, values: Mapping[str, Any]) -> Iterator[Row]:
    """The rows by which an event states `values` of one more subject."""
    for attribute, value in values.items():
        yield Row(
            FACTS.name,
            (
                subject,
                attribute,
                canonical_bytes(value).decode(),
                event.effective_at,
                event.log,
                event.position,
                event.recorded_at,
            ),
        )


async def facts_at(
    connection: Connection,
    subjects: Sequence[str],
    as_of: datetime,
    known: KnownAt = EVERYTHING,
) -> dict[str, dict[str, Held]]:
    """Per subject the attributes in force at `as_of` by what was known; one query.

    A subject without any such fact is absent: it did not exist then, or was not known.
    """
    return held_by_subject(await connection.fetch(_WINNING, subjects, as_of, *known.arguments()))


def held_by_subject(rows: Iterable[Iterable[Any]]) -> dict[str, dict[str, Held]]:
    """Rows of (subject, attribute, value, effective_from, position), per subject."""
    states: dict[str, dict[str, Held]] = {}
    for subject, attribute, value, effective_from, position in rows:
        held = Held(orjson.loads(value), effective_from, position)
        states.setdefault(subject, {})[attribute] = held
    return states


async def fact_history(connection: Connection, subject: str) -> list[Fact]:
    """All facts about a subject, retracted ones too, in effective order."""
    rows = await connection.fetch(_HISTORY, subject)
    return [Fact(**{**row, "value": orjson.loads(row["value"])}) for row in rows]


async def next_change(
    connection: Connection, subjects: Sequence[str], now: datetime
) -> dict[str, datetime]:
    """When each subject's state will next change by what is known; absent where it will not."""
    rows = await connection.fetch(_NEXT_CHANGES, subjects, now)
    return {row["subject"]: row["changes_at"] for row in rows}


async def subjects_ever(connection: Connection, attribute: str, value: Any) -> list[str]:
    """Every subject of which the attribute was ever said to be `value`: to be narrowed down."""
    text = canonical_bytes(value).decode()
    return [row[0] for row in await connection.fetch(_SUBJECTS_EVER, attribute, text)]


async def settle(connection: Connection) -> set[str]:
    """Mark the facts that queued corrections retract; return their subjects.

    The first retraction of a fact counts.
    """
    return {row["subject"] for row in await connection.fetch(_SETTLE)}


async def note_upcoming(connection: Connection, subjects: Sequence[str], now: datetime) -> None:
    """Note when the present state of these subjects will next change."""
    await connection.execute(_FORGET_UPCOMING, subjects)
    await connection.execute(_NOTE_UPCOMING, subjects, now)


async def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Subjects whose present state has changed by the passing of time, longest due first."""
    return [row["subject"] for row in await connection.fetch(_DUE, now, limit)]
