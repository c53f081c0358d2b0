"""Owns what each statement of the log and its relay does to a fake database.

Must do what PostgreSQL does with the same text: tests/simulation/database_contract.py holds both
to that. A statement that is not here fails.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import asyncpg

from shared.eventstore import append, reader
from shared.messaging import lease, relay_log, submissions
from tests.simulation.fake_session import Row, Session

LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
GATE: Final = "gate"
THE_ONE: Final = True


class Record(dict[str, Any]):
    """A row as asyncpg answers it: by name, by index, and as the sequence of its values."""

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())


Rows = Iterable[Mapping[str, Any]]
Does = Callable[[Session, tuple[Any, ...]], Rows]


def pick(row: Row, *columns: str) -> Record:
    """Some columns of a row."""
    return Record((column, row[column]) for column in columns)


def fresh_log(log: str) -> dict[str, dict[Any, Row]]:
    """The rows that the migrations and the opening of a log leave behind."""
    head: Row = {
        "log": log,
        "timeline": 1,
        "publication": 1,
        "position": 0,
        "recorded_at": LONG_AGO,
        "tree": b"",
        "halted": None,
    }
    leases = ("relay", "intake", "rejections")
    return {
        "head": {THE_ONE: head},
        "leases": {
            n: {"name": n, "holder": "", "epoch": 0, "expires_at": LONG_AGO} for n in leases
        },
    }


def _begin(session: Session, _args: tuple[Any, ...]) -> Rows:
    session.in_transaction = True
    return ()


def _end(session: Session, _args: tuple[Any, ...]) -> Rows:
    if session.failed:
        session.writes.clear()
    session.in_transaction = session.failed = False
    return ()


def _roll_back(session: Session, _args: tuple[Any, ...]) -> Rows:
    session.writes.clear()
    return _end(session, ())


def _open_gate(session: Session, _args: tuple[Any, ...]) -> Rows:
    session.in_transaction = True
    session.lock(GATE)
    return ()


def _end_holder(session: Session, args: tuple[Any, ...]) -> Rows:
    ended = session.database.end_holder(GATE, args[0].total_seconds())
    return (Record(bool_or=True if ended else None),)


def _since_epoch(row: Row) -> datetime:
    recorded_at: datetime = row["recorded_at"]
    return max(recorded_at, append.EPOCH)


_OF_COMMANDS: Final = ("key", "request_hash", "outcome", "first_position", "last_position")


def _lock_head(session: Session, args: tuple[Any, ...]) -> Rows:
    session.lock(("head", THE_ONE))
    head = session.get("head", THE_ONE)
    if head is None:
        return ()
    found = pick(head, "log", "timeline", "position", "recorded_at", "tree", "halted")
    times = {"recorded_at": _since_epoch(head), "clock_at": session.now}
    commands = _commands(session, args) or [Record(dict.fromkeys(_OF_COMMANDS))]
    return [Record(found.items(), **times, **command) for command in commands]


def _read_head(session: Session, _args: tuple[Any, ...]) -> Rows:
    head = session.get("head", THE_ONE)
    if head is None:
        return ()
    columns = ("log", "timeline", "publication", "position", "recorded_at", "tree", "halted")
    return (Record(pick(head, *columns).items(), recorded_at=_since_epoch(head)),)


def _head_state(session: Session, _args: tuple[Any, ...]) -> Rows:
    head = session.get("head", THE_ONE)
    return () if head is None else (pick(head, "position", "publication", "timeline", "halted"),)


def _open_log(session: Session, args: tuple[Any, ...]) -> Rows:
    if session.get("head", THE_ONE) is None:
        session.insert("head", fresh_log(args[0])["head"])
    return ()


def _whose(session: Session, _args: tuple[Any, ...]) -> Rows:
    head = session.get("head", THE_ONE)
    return () if head is None else (pick(head, "log"),)


def _halt(session: Session, args: tuple[Any, ...]) -> Rows:
    return _change_head(session, {"halted": args[0]}, only_if=lambda head: head["halted"] is None)


def _touch_head(session: Session, _args: tuple[Any, ...]) -> Rows:
    return _change_head(session, {})


def _change_head(
    session: Session, changes: Row, only_if: Callable[[Row], bool] = lambda _head: True
) -> Rows:
    session.lock(("head", THE_ONE))
    head = session.get("head", THE_ONE)
    if head is not None and only_if(head):
        session.put("head", THE_ONE, {**head, **changes})
    return ()


def _commands(session: Session, args: tuple[Any, ...]) -> Rows:
    found = (session.get("commands", key) for key in dict.fromkeys(args[0]))
    return [pick(row, *_OF_COMMANDS) for row in found if row is not None]


def _outcome(session: Session, args: tuple[Any, ...]) -> Rows:
    row = session.get("commands", args[0])
    return () if row is None else (pick(row, "outcome"),)


def _streams(session: Session, args: tuple[Any, ...]) -> Rows:
    wanted = set(args[0])
    rows = [row for _, row in session.rows("events") if row["stream"] in wanted]
    rows.sort(key=lambda row: (row["stream"], row["stream_version"]))
    return [pick(row, "body") for row in rows]


def _claims(session: Session, args: tuple[Any, ...]) -> Rows:
    found = (session.get("claims", claim) for claim in zip(*args, strict=True))
    return [pick(row, "kind", "value", "stream") for row in found if row is not None]


def copied(table: str, columns: Iterable[str], records: Iterable[Iterable[Any]]) -> Does:
    """COPY into a table of the log."""
    rows = [dict(zip(columns, record, strict=True)) for record in records]
    insert = {"events": _insert_events, "commands": _insert_commands}[table]

    def copy(session: Session, _args: tuple[Any, ...]) -> Rows:
        insert(session, rows)
        return ()

    return copy


def _insert_events(session: Session, rows: list[Row]) -> None:
    _check_versions(session, rows)
    session.insert("events", {row["position"]: row for row in rows})


def _insert_commands(session: Session, rows: list[Row]) -> None:
    session.insert("commands", {row["key"]: row for row in rows})


def _check_versions(session: Session, rows: list[Row]) -> None:
    taken = {(row["stream"], row["stream_version"]) for _, row in session.rows("events")}
    for row in rows:
        if (place := (row["stream"], row["stream_version"])) in taken:
            raise asyncpg.UniqueViolationError(f"events holds {place}")
        taken.add(place)


def _write(session: Session, args: tuple[Any, ...]) -> Rows:
    *turned, position, recorded_at, tree = args
    rest = iter(turned)
    events, commands, claims = (
        [
            dict(zip(columns, row, strict=True))
            for row in zip(*islice(rest, len(columns)), strict=True)
        ]
        for columns in (append._EVENT_COLUMNS, append._COMMAND_COLUMNS, append._CLAIM_COLUMNS)
    )
    session.lock(
        *(("events", row["position"]) for row in events),
        *(("claims", (row["kind"], row["value"])) for row in claims),
        *(("commands", row["key"]) for row in commands),
        ("head", THE_ONE),
    )
    _insert_events(session, events)
    session.insert("claims", {(row["kind"], row["value"]): row for row in claims})
    _insert_commands(session, commands)
    head = session.get("head", THE_ONE)
    if head is not None and head["position"] == position:
        recorded_at = head["recorded_at"]
    changes = {"position": position, "recorded_at": recorded_at, "tree": tree}
    return _change_head(session, changes)


def _after(session: Session, args: tuple[Any, ...]) -> Rows:
    return [pick(row, "body") for row in _next_events(session, args[0], args[1])]


def _next_events(session: Session, position: int, limit: int) -> list[Row]:
    rows = (row for at, row in session.rows("events") if at > position)
    return sorted(rows, key=lambda row: int(row["position"]))[:limit]


def _at(session: Session, args: tuple[Any, ...]) -> Rows:
    row = session.get("events", args[0])
    return () if row is None else (pick(row, "body"),)


def _ahead(session: Session, args: tuple[Any, ...]) -> Rows:
    position, limit, max_bytes = args
    answer, so_far = [], 0
    for row in _next_events(session, position, limit):
        so_far += len(row["body"])
        if so_far <= max_bytes or row["position"] == position + 1:
            answer.append(pick(row, "position", "stream", "body"))
    return answer


def _published(session: Session, args: tuple[Any, ...]) -> Rows:
    row = session.get("publications", args[0])
    return () if row is None else (Record(row),)


def _note_published(session: Session, args: tuple[Any, ...]) -> Rows:
    publication, position = args
    session.lock(("publications", publication))
    known = session.get("publications", publication)
    if known is None or known["published"] < position:
        session.put("publications", publication, {"published": position})
    return ()


def _take(session: Session, args: tuple[Any, ...]) -> Rows:
    name, holder, ttl = args
    session.lock(("leases", name))
    row = session.get("leases", name)
    if row is None or not (row["expires_at"] < session.now or row["holder"] == holder):
        return ()
    taken = {**row, "holder": holder, "epoch": row["epoch"] + 1, "expires_at": session.now + ttl}
    session.put("leases", name, taken)
    return (Record(epoch=taken["epoch"], server=session.database.server),)


def _renew(session: Session, args: tuple[Any, ...]) -> Rows:
    return _extend(session, args[:3], session.now + args[3])


def _give_back(session: Session, args: tuple[Any, ...]) -> Rows:
    _extend(session, args, LONG_AGO)
    return ()


def _extend(session: Session, hold: tuple[Any, ...], until: datetime) -> Rows:
    session.lock(("leases", hold[0]))
    row = session.get("leases", hold[0])
    if row is None or (row["name"], row["holder"], row["epoch"]) != hold:
        return ()
    session.put("leases", hold[0], {**row, "expires_at": until})
    return (Record(epoch=row["epoch"], server=session.database.server),)


STATEMENTS: Final[dict[str, tuple[str, Does]]] = {
    "BEGIN": ("BEGIN", _begin),
    "COMMIT": ("COMMIT", _end),
    "ROLLBACK": ("ROLLBACK", _roll_back),
    append.OPEN_GATE: ("open gate", _open_gate),
    append._END_HOLDER: ("end holder of the gate", _end_holder),
    append._READ_HEAD: ("lock head", _lock_head),
    append._READ_COMMANDS: ("read commands", _commands),
    append._READ_STREAMS: ("read streams", _streams),
    append._READ_CLAIMS: ("read claims", _claims),
    append._WRITE: ("append", _write),
    append._TOUCH_HEAD: ("touch head", _touch_head),
    reader._OPEN: ("open log", _open_log),
    reader._WHOSE: ("whose log", _whose),
    reader._HEAD: ("read head", _read_head),
    reader._AFTER: ("read after", _after),
    reader._AT: ("read at", _at),
    relay_log._HEAD: ("look at head", _head_state),
    relay_log._AHEAD: ("read ahead", _ahead),
    relay_log._PUBLISHED: ("read published", _published),
    relay_log._NOTE_PUBLISHED: ("note published", _note_published),
    relay_log._HALT: ("halt", _halt),
    lease._TAKE: ("take lease", _take),
    lease._RENEW: ("renew lease", _renew),
    lease._RELEASE: ("release lease", _give_back),
    submissions._ACCEPTED: ("look up accepted", _outcome),
}
