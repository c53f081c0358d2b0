"""Owns the statements of the append transaction.

Order of locks, everywhere: the gate, then the head row, then rows of the log. Must only be run by
the writer, inside its transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import asyncpg
import orjson
import structlog

from shared.contracts.envelope import Event, parse_event
from shared.eventstore.batch import Batch, EventRow, Head, KnownCommand
from shared.eventstore.merkle import Frontier
from shared.eventstore.types import Claim, LogHaltedError, Outcome

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_log = structlog.get_logger(__name__)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# One simple query, one round trip. Every later statement has a snapshot younger than the gate.
OPEN_GATE: Final = "BEGIN; SELECT pg_advisory_xact_lock(7305808870)"
# A commit that waits for the standby is no frozen process.
_END_HOLDER: Final = """
SELECT bool_or(pg_terminate_backend(holder.pid))
FROM pg_locks AS gate JOIN pg_stat_activity AS holder USING (pid)
WHERE gate.locktype = 'advisory' AND gate.granted AND gate.objsubid = 1
    AND (gate.classid::bigint << 32 | gate.objid::bigint) = 7305808870
    AND holder.datname = current_database()
    AND holder.xact_start < clock_timestamp() - $1::interval
    AND holder.wait_event IS DISTINCT FROM 'SyncRep'
"""
_READ_HEAD: Final = """
SELECT h.log, h.timeline, h.position, greatest(h.recorded_at, 'epoch') AS recorded_at, h.tree,
    h.halted, clock_timestamp() AS clock_at,
    c.key, c.request_hash, c.outcome, c.first_position, c.last_position
FROM log.head AS h LEFT JOIN log.commands AS c ON c.key = ANY($1)
FOR UPDATE OF h
"""
_READ_COMMANDS: Final = """
SELECT key, request_hash, outcome, first_position, last_position
FROM log.commands WHERE key = ANY($1)
"""
_READ_STREAMS: Final = """
SELECT body FROM log.events WHERE stream = ANY($1) ORDER BY stream, stream_version
"""
_READ_CLAIMS: Final = """
SELECT c.kind, c.value, c.stream FROM log.claims c
JOIN unnest($1::text[], $2::text[]) AS wanted (kind, value) USING (kind, value)
"""
_WRITE: Final = """
WITH written AS (
    INSERT INTO log.events (position, stream, stream_version, type, recorded_at, leaf, body)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[],
        $5::timestamptz[], $6::bytea[], $7::bytea[])
), commanded AS (
    INSERT INTO log.commands
        (key, request_hash, outcome, first_position, last_position, recorded_at)
    SELECT * FROM unnest($8::text[], $9::bytea[], $10::bytea[], $11::bigint[], $12::bigint[],
        $13::timestamptz[])
), claimed AS (
    INSERT INTO log.claims (kind, value, stream, position)
    SELECT * FROM unnest($14::text[], $15::text[], $16::text[], $17::bigint[])
)
UPDATE log.head SET position = $18, tree = $20,
    recorded_at = CASE WHEN position = $18 THEN recorded_at ELSE $19 END
"""
# Fewer rows are faster in the one statement than by a COPY, which is two round trips more.
_COPIED_FROM: Final = 20
_TOUCH_HEAD: Final = "UPDATE log.head SET recorded_at = recorded_at"
_EVENT_COLUMNS: Final = (
    "position",
    "stream",
    "stream_version",
    "type",
    "recorded_at",
    "leaf",
    "body",
)
_COMMAND_COLUMNS: Final = (
    "key",
    "request_hash",
    "outcome",
    "first_position",
    "last_position",
    "recorded_at",
)
_CLAIM_COLUMNS: Final = ("kind", "value", "stream", "position")


async def open_gate(connection: Connection, timeout_s: float, hold_max_s: float) -> None:
    """Begin a transaction that no other writer of this log can be in at the same time.

    A process that was frozen in the middle of a COPY keeps the gate: the server obeys no timeout
    while it waits for the rest of one. So who has held it for longer than `hold_max_s` is ended by
    the next who wants it; its transaction is then undone.

    Raises: asyncpg.LockNotAvailableError when somebody holds it for longer than `lock_timeout`.
    """
    try:
        await connection.execute(OPEN_GATE, timeout=timeout_s)
    except asyncpg.LockNotAvailableError:
        await connection.execute("ROLLBACK", timeout=timeout_s)
        longest = timedelta(seconds=hold_max_s)
        ended = await connection.fetchval(_END_HOLDER, longest, timeout=timeout_s)
        if not ended:
            raise
        _log.warning("gate_holder_ended", held_longer_than_s=hold_max_s)
        await connection.execute(OPEN_GATE, timeout=timeout_s)


async def read_head(
    connection: Connection, keys: Sequence[str], timeout_s: float
) -> tuple[Head, datetime, dict[str, KnownCommand]]:
    """Lock the head; return it, the database's clock, and which of the keys are in the log.

    Raises: LogHaltedError.
    """
    rows = await connection.fetch(_READ_HEAD, keys, timeout=timeout_s)
    if not rows:
        raise LogHaltedError("the log was never opened")
    first = rows[0]
    if first["halted"] is not None:
        raise LogHaltedError(first["halted"])
    tree = Frontier.from_bytes(first["position"], first["tree"])
    head = Head(first["log"], first["timeline"], first["position"], first["recorded_at"], tree)
    return head, first["clock_at"], _known(row for row in rows if row["key"] is not None)


async def read_commands(
    connection: Connection, keys: Sequence[str], timeout_s: float
) -> dict[str, KnownCommand]:
    """Look up which of the keys are in the log."""
    return _known(await connection.fetch(_READ_COMMANDS, keys, timeout=timeout_s))


def _known(rows: Iterable[asyncpg.Record]) -> dict[str, KnownCommand]:
    return {
        row["key"]: KnownCommand(
            row["request_hash"],
            Outcome(orjson.loads(row["outcome"]), row["first_position"], row["last_position"]),
        )
        for row in rows
    }


async def read_streams(
    connection: Connection, streams: Iterable[str], timeout_s: float
) -> dict[str, list[Event]]:
    """Read all events of the streams, in order; a stream that does not exist has none."""
    events: dict[str, list[Event]] = {stream: [] for stream in streams}
    for row in await connection.fetch(_READ_STREAMS, list(events), timeout=timeout_s):
        event = parse_event(row["body"])
        events[event.stream].append(event)
    return events


async def read_claims(
    connection: Connection, claims: Sequence[Claim], timeout_s: float
) -> dict[Claim, str]:
    """Look up who holds the names that are held."""
    kinds, values = [c.kind for c in claims], [c.value for c in claims]
    rows = await connection.fetch(_READ_CLAIMS, kinds, values, timeout=timeout_s)
    return {Claim(row["kind"], row["value"]): row["stream"] for row in rows}


async def write(connection: Connection, batch: Batch, timeout_s: float) -> None:
    """Write a decided batch: its events, its names, its commands and the new head."""
    events: Sequence[EventRow] = batch.events
    recorded_at = batch.recorded_at
    commands = [
        (
            key,
            command.request_hash,
            orjson.dumps(outcome.answer),
            outcome.first_position,
            outcome.last_position,
            recorded_at,
        )
        for key, (command, outcome) in batch.accepted.items()
    ]
    if len(events) >= _COPIED_FROM:
        await _copy(connection, "events", _EVENT_COLUMNS, events, timeout_s)
        events = ()
    if len(commands) >= _COPIED_FROM:
        await _copy(connection, "commands", _COMMAND_COLUMNS, commands, timeout_s)
        commands = []
    await connection.execute(
        _WRITE,
        *_turned(events, _EVENT_COLUMNS),
        *_turned(commands, _COMMAND_COLUMNS),
        *_turned(batch.claims, _CLAIM_COLUMNS),
        batch.position,
        recorded_at,
        batch.tree.to_bytes(),
        timeout=timeout_s,
    )


async def _copy(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    timeout_s: float,
) -> None:
    await connection.copy_records_to_table(
        table, schema_name="log", columns=columns, records=rows, timeout=timeout_s
    )


def _turned(rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows' values column by column."""
    return list(zip(*rows, strict=True)) or [()] * len(columns)


async def touch_head(connection: Connection, timeout_s: float) -> None:
    """Write without changing anything, so that the commit waits for the standby."""
    await connection.execute(_TOUCH_HEAD, timeout=timeout_s)
