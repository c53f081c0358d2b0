"""Owns what each statement of the intake, and of refusals, does to a fake database.

Must do what PostgreSQL does with the same text, as tests/simulation/fake_statements.py must.
"""

from typing import Any, Final

from shared.messaging import intake_store, submissions
from tests.simulation.fake_session import Session
from tests.simulation.fake_statements import Does, Record, Rows, pick

_OF_RECORDS: Final = ("topic", "partition", "kafka_offset")


def _begin_marks(session: Session, args: tuple[Any, ...]) -> Rows:
    places = [one for one in zip(*args, strict=True) if session.get("marks", one) is None]
    session.lock(*(("marks", place) for place in places))
    fresh = {"next_offset": 0, "last_digest": None}
    session.insert(
        "marks",
        {
            (topic, partition): {"topic": topic, "partition": partition, **fresh}
            for topic, partition in places
            if session.get("marks", (topic, partition)) is None
        },
    )
    return ()


def _marks(session: Session, args: tuple[Any, ...]) -> Rows:
    columns = ("topic", "partition", "next_offset", "last_digest")
    return [pick(row, *columns) for _, row in session.rows("marks") if row["topic"] in args[0]]


def _advance(session: Session, args: tuple[Any, ...]) -> Rows:
    moves = list(zip(*args, strict=True))
    session.lock(*(("marks", (topic, partition)) for topic, partition, *_ in moves))
    moved = 0
    for topic, partition, behind, upto, digest in moves:
        mark = session.get("marks", (topic, partition))
        if mark is not None and mark["next_offset"] == behind:
            changed = {**mark, "next_offset": upto, "last_digest": digest}
            session.put("marks", (topic, partition), changed)
            moved += 1
    return [Record(bool=True)] * moved


_OF_REJECTIONS: Final = (
    "organisation",
    "source",
    "id",
    "reason",
    "digest",
    "original",
    *_OF_RECORDS,
)


def _reject(session: Session, args: tuple[Any, ...]) -> Rows:
    _store(session, list(zip(*args, strict=True)))
    return ()


def _refuse(session: Session, args: tuple[Any, ...]) -> Rows:
    """Earlier reasons stay, since only the last is ever asked for."""
    organisation, *columns = args
    nowhere = (None,) * (len(_OF_REJECTIONS) - 1 - len(columns))
    _store(session, [(organisation, *row, *nowhere) for row in zip(*columns, strict=True)])
    return ()


def _store(session: Session, rows: list[tuple[Any, ...]]) -> None:
    number = max((at for at, _ in session.rows("rejections")), default=0)
    stored = [dict(zip(_OF_REJECTIONS, row, strict=True)) for row in rows]
    session.lock("rejections")  # Numbers come from a sequence; one lock does the same.
    session.insert("rejections", {number + n: row for n, row in enumerate(stored, start=1)})


def _rejected(session: Session, args: tuple[Any, ...]) -> Rows:
    found = {
        number: row
        for number, row in session.rows("rejections")
        if (row["organisation"], row["source"], row["id"]) == args
    }
    last = [found[max(found)]] if found else []
    return [pick(row, "reason", *_OF_RECORDS) for row in last]


INTAKE_STATEMENTS: Final[dict[str, tuple[str, Does]]] = {
    intake_store._BEGIN: ("begin marks", _begin_marks),
    intake_store._MARKS: ("read marks", _marks),
    intake_store._ADVANCE: ("advance marks", _advance),
    intake_store._REJECT: ("reject", _reject),
    submissions._REFUSE: ("keep refused", _refuse),
    submissions._REJECTED: ("look up rejected", _rejected),
}
