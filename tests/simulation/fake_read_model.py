"""Owns what the statements of a projection do to a fake database: checkpoint, tables, generation.

Must do what PostgreSQL does with the same text; rows of a generation live below its schema.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from shared.contracts.envelope import Event
from shared.contracts.events.model import EventData
from shared.contracts.events.services import ServiceAliasAdded
from shared.projections import checkpoint, generations
from shared.projections.projection import CurrentTable, Projection, Row, Table
from tests.simulation.fake_intake import INTAKE_STATEMENTS
from tests.simulation.fake_session import Row as Stored
from tests.simulation.fake_session import Session
from tests.simulation.fake_statements import STATEMENTS, Does, Record, Rows, pick

HISTORY: Final = Table(
    "history", ("log", "position", "subject", "key"), ("log", "position"), touches="subject"
)
LATEST: Final = Table("latest", ("subject", "position"), key=("subject",), replaces=True)
COUNTS: Final = CurrentTable(
    "counts",
    ("subject", "events"),
    "SELECT subject, count(*) FROM history"
    " WHERE subject = ANY($1) AND $2::timestamptz IS NOT NULL GROUP BY subject",
)
_FORGET: Final = "DELETE FROM counts WHERE subject = ANY($1)"
_MAKE: Final = f"INSERT INTO counts (subject, events) {COUNTS.select}"
_REPLACE: Final = re.compile(
    r"INSERT INTO (?P<table>\w+) \((?P<columns>[\w, ]+)\) VALUES .*"
    r"ON CONFLICT \((?P<key>[\w, ]+)\) DO (UPDATE SET .*|NOTHING)"
)


def on_alias(event: Event, _data: EventData | None) -> Iterator[Row]:
    """Every event leaves a row of its own, is its subject's latest, and counts."""
    key = event.origin.causation_id
    yield Row(HISTORY.name, (event.log, event.position, event.subject, key))
    yield Row(LATEST.name, (event.subject, event.position))


def projection(log: str) -> Projection:
    """A read model with one table of each sort, in which a doubled or lost event shows."""
    return Projection(
        name="simulated",
        version=1,
        logs=(log,),
        handlers={ServiceAliasAdded.TYPE: on_alias},
        tables=(HISTORY, LATEST),
        currents=(COUNTS,),
        ddl=(Path(__file__).with_name("simulated.sql"),),
    )


SCHEMA: Final = projection("any").schema(1)


def fresh_generation(log: str, now: datetime) -> dict[Any, dict[Any, Stored]]:
    """The rows that the making of a first generation leaves behind."""
    generation = {"generation": 1, "version": 1, "state": "active", "phase": "following"}
    start = {"log": log, "timeline": 1, "position": 0, "kafka_offset": None, "digest": None}
    return {
        "generations": {("simulated", 1): {"projection": "simulated", **generation}},
        (SCHEMA, "checkpoint"): {
            log: {**start, "publication": 1, "recorded_at": now, "head": 0},
        },
    }


def _serving(session: Session, args: tuple[Any, ...]) -> Rows:
    rows = [row for (name, _), row in session.rows("generations") if name == args[0]]
    return [pick(row, "generation", "version", "state", "phase") for row in rows]


def _checkpoints(session: Session, _args: tuple[Any, ...]) -> Rows:
    columns = ("log", "timeline", "position", "kafka_offset", "digest", "publication")
    rows = sorted(session.rows((session.schema, "checkpoint")))
    return [pick(row, *columns) for _, row in rows]


def _lock_checkpoints(session: Session, args: tuple[Any, ...]) -> Rows:
    table = (session.schema, "checkpoint")
    session.lock(*((table, log) for log, _ in sorted(session.rows(table))))
    return _checkpoints(session, args)


def _set_checkpoint(session: Session, args: tuple[Any, ...]) -> Rows:
    log, timeline, position, offset, digest, publication, recorded_at, head = args
    table = (session.schema, "checkpoint")
    session.lock((table, log))
    before = session.get(table, log)
    if before is not None:
        after = {
            **before,
            "timeline": timeline,
            "position": position,
            "kafka_offset": offset,
            "digest": digest,
            "publication": publication,
            "recorded_at": recorded_at or before["recorded_at"],
            "head": max(head, position),
        }
        session.put(table, log, after)
    return ()


def _set_head(session: Session, args: tuple[Any, ...]) -> Rows:
    table = (session.schema, "checkpoint")
    session.lock((table, args[0]))
    row = session.get(table, args[0])
    if row is not None and row["head"] < args[1]:
        session.put(table, args[0], {**row, "head": args[1]})
    return ()


def copied_rows(table: str, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> Does:
    """COPY into a table without a unique index: what comes twice is there twice."""

    def copy(session: Session, _args: tuple[Any, ...]) -> Rows:
        place = (session.schema, table)
        session.lock(place)
        used = max((number for number, _ in session.rows(place)), default=0)
        for number, record in enumerate(records, start=used + 1):
            session.put(place, number, dict(zip(columns, record, strict=True)))
        return ()

    return copy


def replacing(text: str, rows: list[tuple[Any, ...]]) -> Does:
    """INSERT ... ON CONFLICT, once for each row."""
    match = _REPLACE.fullmatch(text)
    if match is None:
        raise NotImplementedError(text)
    columns, key = match["columns"].split(", "), match["key"].split(", ")

    def replace(session: Session, _args: tuple[Any, ...]) -> Rows:
        place = (session.schema, match["table"])
        stored = [dict(zip(columns, row, strict=True)) for row in rows]
        session.lock(*((place, tuple(row[c] for c in key)) for row in stored))
        for row in stored:
            session.put(place, tuple(row[column] for column in key), row)
        return ()

    return replace


def _forget(session: Session, args: tuple[Any, ...]) -> Rows:
    place = (session.schema, COUNTS.name)
    session.lock(*((place, subject) for subject in args[0]))
    for subject in args[0]:
        if session.get(place, subject) is not None:
            session.put(place, subject, None)
    return ()


def _make(session: Session, args: tuple[Any, ...]) -> Rows:
    subjects = [row["subject"] for _, row in session.rows((session.schema, HISTORY.name))]
    made = {
        subject: {"subject": subject, "events": subjects.count(subject)}
        for subject in args[0]
        if subject in subjects
    }
    session.insert((session.schema, COUNTS.name), made)
    return ()


def contents(session: Session) -> dict[str, list[Record]]:
    """All rows of a generation, ordered."""
    found = {}
    for table in (HISTORY.name, LATEST.name, COUNTS.name):
        rows = [Record(row) for _, row in session.rows((SCHEMA, table))]
        found[table] = sorted(rows, key=lambda row: tuple(row.values()))
    return found


ALL_STATEMENTS: Final[dict[str, tuple[str, Does]]] = {
    **STATEMENTS,
    **INTAKE_STATEMENTS,
    generations._SERVING: ("look for generation", _serving),
    checkpoint._READ: ("read checkpoint", _checkpoints),
    checkpoint._LOCK: ("lock checkpoint", _lock_checkpoints),
    checkpoint._SET: ("set checkpoint", _set_checkpoint),
    checkpoint._SET_HEAD: ("set known head", _set_head),
    _FORGET: ("forget counts", _forget),
    _MAKE: ("make counts", _make),
}
