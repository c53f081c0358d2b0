"""State in two times, against an oracle that looks at every fact for every question."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts.known_at import KnownAt
from shared.database.provision import DatabaseAccess
from shared.projections.facts import (
    FACTS,
    fact_history,
    facts_at,
    next_change,
    note_upcoming,
    settle,
    subjects_ever,
)
from shared.projections.generations import finish_tables
from shared.projections.projection import Connection, Projection
from shared.projections.writing import create_tables

START = datetime(2024, 1, 1, tzinfo=UTC)
LOGS = ("registry", "dependencies")
SUBJECTS = ("svc_a", "svc_b")
BARE = Projection("bare", 1, LOGS, {}, facts=True)


@dataclass(frozen=True, slots=True)
class Stated:
    """One event of the oracle: it states one attribute and corrects earlier positions."""

    log: str
    position: int
    subject: str
    attribute: str
    value: int
    effective_from: datetime
    recorded_at: datetime
    corrects: tuple[int, ...]


@st.composite
def histories(draw: st.DrawFn) -> list[Stated]:
    events: list[Stated] = []
    positions = dict.fromkeys(LOGS, 0)
    for index in range(draw(st.integers(1, 14))):
        log = draw(st.sampled_from(LOGS))
        positions[log] += 1
        position = positions[log]
        events.append(
            Stated(
                log,
                position,
                draw(st.sampled_from(SUBJECTS)),
                draw(st.sampled_from(("name", "phase"))),
                index,
                START + timedelta(days=draw(st.integers(0, 4))),
                START + timedelta(seconds=index),
                tuple(draw(st.sets(st.integers(1, max(1, position - 1)), max_size=2)))
                if position > 1
                else (),
            )
        )
    return events


bounds = st.builds(
    KnownAt,
    recorded_at=st.none() | st.integers(0, 14).map(lambda s: START + timedelta(seconds=s)),
    positions=st.dictionaries(st.sampled_from(LOGS), st.integers(0, 14)),
)


def known(event: Stated, bound: KnownAt) -> bool:
    in_time = bound.recorded_at is None or event.recorded_at <= bound.recorded_at
    return in_time and event.position <= bound.positions.get(event.log, event.position)


def oracle(
    events: Sequence[Stated], as_of: datetime, bound: KnownAt
) -> dict[tuple[str, str], tuple[int, datetime, int]]:
    heard = [event for event in events if known(event, bound)]
    # The first correction of a fact counts; one that is not known yet takes nothing back.
    retracted = {(event.log, position) for event in heard for position in event.corrects}
    best: dict[tuple[str, str], Stated] = {}
    for event in heard:
        if event.effective_from > as_of or (event.log, event.position) in retracted:
            continue
        key = (event.subject, event.attribute)
        held = best.get(key)
        if held is None or rank(event) > rank(held):
            best[key] = event
    return {key: (e.value, e.effective_from, e.position) for key, e in best.items()}


def rank(event: Stated) -> tuple[datetime, int, str]:
    return event.effective_from, event.position, event.log


async def store(connection: Connection, events: Sequence[Stated]) -> None:
    await connection.execute("TRUNCATE facts, retractions, upcoming")
    await connection.copy_records_to_table(
        "facts",
        columns=FACTS.columns,
        records=[
            (
                e.subject,
                e.attribute,
                str(e.value),
                e.effective_from,
                e.log,
                e.position,
                e.recorded_at,
            )
            for e in events
        ],
    )
    await connection.copy_records_to_table(
        "retractions",
        records=[(e.log, p, e.position, e.recorded_at) for e in events for p in e.corrects],
    )
    await settle(connection)


@pytest_asyncio.fixture
async def connection(
    access: DatabaseAccess,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(
        access.app_dsn, server_settings={"search_path": "bare", "synchronous_commit": "off"}
    )
    await connection.execute("CREATE SCHEMA bare")
    await create_tables(connection, BARE, START)
    await finish_tables(connection, BARE, START)
    yield connection
    await connection.close()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=histories(), day=st.integers(0, 5), bound=bounds)
async def test_facts_at_agrees_with_looking_at_every_fact(
    connection: Connection, events: list[Stated], day: int, bound: KnownAt
) -> None:
    await store(connection, events)
    as_of = START + timedelta(days=day)
    found = await facts_at(connection, SUBJECTS, as_of, bound)
    flat = {
        (subject, attribute): tuple(held)
        for subject, attributes in found.items()
        for attribute, held in attributes.items()
    }
    assert flat == oracle(events, as_of, bound)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=histories(), day=st.integers(0, 5))
async def test_next_change_is_the_first_fact_to_come(
    connection: Connection, events: list[Stated], day: int
) -> None:
    await store(connection, events)
    now = START + timedelta(days=day)
    corrected = {(event.log, position) for event in events for position in event.corrects}
    expected: dict[str, datetime] = {}
    for event in events:
        if event.effective_from > now and (event.log, event.position) not in corrected:
            first = expected.get(event.subject, event.effective_from)
            expected[event.subject] = min(first, event.effective_from)
    assert await next_change(connection, SUBJECTS, now) == expected
    await note_upcoming(connection, SUBJECTS, now)
    noted = await connection.fetch("SELECT subject, changes_at FROM upcoming")
    assert {row["subject"]: row["changes_at"] for row in noted} == expected


async def test_values_of_any_length_are_found_again(connection: Connection) -> None:
    long = "x" * 10_000
    event = Stated("registry", 1, "svc_a", "description", 1, START, START, ())
    await store(connection, [event])
    await connection.execute("UPDATE facts SET value = $1", json.dumps(long))
    assert await subjects_ever(connection, "description", long) == ["svc_a"]
    assert await subjects_ever(connection, "description", long + "x") == []
    (fact,) = await fact_history(connection, "svc_a")
    assert (fact.value, fact.retracted_at_position) == (long, None)


async def test_states_are_read_fast_among_many(connection: Connection) -> None:
    """50 subjects of 15 attributes within 50 ms, one within 5: far from a scan of the table."""
    await connection.execute("TRUNCATE facts, retractions, upcoming")
    await connection.execute(
        """
        INSERT INTO facts
            (subject, attribute, value, effective_from, log, position, recorded_at)
        SELECT 'svc_' || s, 'a' || a, '"v"', $1::timestamptz + v * interval '1 day', 'registry',
            s * 100 + a * 3 + v, $1
        FROM generate_series(1, 5000) s, generate_series(1, 15) a, generate_series(0, 2) v
        """,
        START,
    )
    await connection.execute("ANALYZE facts")
    as_of = START + timedelta(days=1)
    many = [f"svc_{index}" for index in range(100, 5000, 98)]
    for subjects, bound_s in ((many, 0.05), (many[:1], 0.005)):
        fastest = min([await _seconds(connection, subjects, as_of) for _ in range(20)])
        assert fastest < bound_s, f"{len(subjects)} subjects took {fastest * 1000:.1f} ms"


async def _seconds(connection: Connection, subjects: Sequence[str], as_of: datetime) -> float:
    started = time.perf_counter()
    states = await facts_at(connection, subjects, as_of, KnownAt(as_of, {"registry": 10**9}))
    spent = time.perf_counter() - started
    assert {len(state) for state in states.values()} == {15}
    return spent
