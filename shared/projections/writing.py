"""Owns writing folded rows and what is derived from them: the same statements live and in bulk.

Must be called inside the transaction that advances the checkpoint.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from shared.projections import facts
from shared.projections.checkpoint import CHECKPOINT_DDL, begin_checkpoints
from shared.projections.facts import FACTS, FACTS_DDL, FACTS_INDEXES, RETRACTIONS, UPCOMING
from shared.projections.folding import Folded
from shared.projections.projection import Connection, CurrentTable, Projection, Table

Rows = Sequence[tuple[Any, ...]]

WRITE_REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
    ValueError,
    TypeError,
    LookupError,
)
"""Errors of which the rows or the statements are the cause, not the state of the database."""

_REFRESH_SUBJECTS: Final = 5_000


def written_tables(projection: Projection) -> tuple[Table, ...]:
    """The tables that handlers may write to."""
    own = (FACTS, RETRACTIONS) if projection.facts else ()
    return (*own, *projection.tables)


def compared_tables(projection: Projection) -> dict[str, tuple[str, ...]]:
    """Every table by which two generations are compared, with its key."""
    tables = {table.name: table.key for table in written_tables(projection)}
    if projection.facts:
        tables[UPCOMING.name] = UPCOMING.key
    return tables | {current.name: (current.subject,) for current in projection.currents}


async def create_tables(connection: Connection, projection: Projection, now: datetime) -> None:
    """Run the DDL of a generation, without the indexes, in the schema that search_path names."""
    own = (FACTS_DDL,) if projection.facts else ()
    await _run_files(connection, (CHECKPOINT_DDL, *own, *projection.ddl))
    await begin_checkpoints(connection, projection.logs, now)


async def create_indexes(connection: Connection, projection: Projection) -> None:
    """Run the DDL that a bulk rebuild puts off."""
    own = (FACTS_INDEXES,) if projection.facts else ()
    await _run_files(connection, (*own, *projection.indexes))


async def write_rows(connection: Connection, projection: Projection, folded: Folded) -> None:
    """Write a batch's rows in the order of the declared tables.

    Raises: ValueError for rows of a table that was not declared.
    """
    tables = written_tables(projection)
    undeclared = folded.rows.keys() - {table.name for table in tables}
    if undeclared:
        raise ValueError(f"handlers wrote to undeclared tables: {sorted(undeclared)}")
    for table in tables:
        rows = folded.rows.get(table.name)
        if not rows:
            continue
        if table.replaces:
            await _replace(connection, table, rows)
        else:
            await connection.copy_records_to_table(table.name, columns=table.columns, records=rows)


async def derive(
    connection: Connection, projection: Projection, folded: Folded, now: datetime
) -> None:
    """Bring derived rows up to date for the subjects that a batch touched."""
    if not folded.rows:
        return
    touched = _touched(written_tables(projection), folded)
    if RETRACTIONS.name in folded.rows:
        touched |= await facts.settle(connection)
    await refresh(connection, projection, touched, now)


async def derive_all(connection: Connection, projection: Projection, now: datetime) -> None:
    """Make all derived rows, once a bulk rebuild has its stored rows and indexes."""
    if projection.facts:
        await facts.settle(connection)
    subjects: set[str] = set()
    for table in written_tables(projection):
        if table.touches is not None:
            distinct = f"SELECT DISTINCT {table.touches} FROM {table.name}"  # noqa: S608 - declared names.
            subjects |= {row[0] for row in await connection.fetch(distinct)}
    await refresh(connection, projection, subjects, now)


async def roll_forward(connection: Connection, projection: Projection, now: datetime) -> int:
    """Refresh subjects whose present state changed by the passing of time; return how many.

    The transaction must hold the checkpoints' lock.
    """
    rolled = 0
    while projection.facts:
        subjects = await facts.due(connection, now, _REFRESH_SUBJECTS)
        if not subjects:
            break
        await refresh(connection, projection, subjects, now)
        rolled += len(subjects)
    return rolled


async def refresh(
    connection: Connection, projection: Projection, subjects: Collection[str], now: datetime
) -> None:
    """Make the derived rows of these subjects anew, some thousands at a time."""
    ordered = sorted(subjects)
    for start in range(0, len(ordered), _REFRESH_SUBJECTS):
        chunk = ordered[start : start + _REFRESH_SUBJECTS]
        for current in projection.currents:
            await _make_current(connection, current, chunk, now)
        if projection.refresh is not None:
            await projection.refresh(connection, chunk, now)
        if projection.facts:
            await facts.note_upcoming(connection, chunk, now)


async def _make_current(
    connection: Connection, current: CurrentTable, subjects: Sequence[str], now: datetime
) -> None:
    columns = ", ".join(current.columns)
    forget = f"DELETE FROM {current.name} WHERE {current.subject} = ANY($1)"  # noqa: S608 - declared names.
    make = f"INSERT INTO {current.name} ({columns}) {current.select}"
    await connection.execute(forget, subjects)
    await connection.execute(make, subjects, now)


async def _replace(connection: Connection, table: Table, rows: Rows) -> None:
    """Put rows in place of those with the same key; of several in one batch the last counts."""
    columns = ", ".join(table.columns)
    places = ", ".join(f"${index}" for index in range(1, len(table.columns) + 1))
    others = [column for column in table.columns if column not in table.key]
    action = (
        "UPDATE SET " + ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
        if others
        else "NOTHING"
    )
    statement = (
        f"INSERT INTO {table.name} ({columns}) VALUES ({places}) "  # noqa: S608 - declared names.
        f"ON CONFLICT ({', '.join(table.key)}) DO {action}"
    )
    key_at = [table.columns.index(column) for column in table.key]
    last = {tuple(row[index] for index in key_at): row for row in rows}
    await connection.executemany(statement, list(last.values()))


def _touched(tables: Iterable[Table], folded: Folded) -> set[str]:
    touched: set[str] = set()
    for table in tables:
        if table.touches is not None:
            at = table.columns.index(table.touches)
            touched.update(row[at] for row in folded.rows.get(table.name, ()))
    return touched


async def _run_files(connection: Connection, files: Iterable[Path]) -> None:
    for file in files:
        await connection.execute(file.read_text())
