"""The log's own PostgreSQL killed, frozen, or waiting for a standby that is not there."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg

from deploy.local.launcher import BackingServices
from shared.eventstore.types import LogUnavailableError, Outcome, OutcomeUnknownError
from tests.integration.eventstore.log_under_test import (
    APPLICATION,
    QUICK,
    FaultyConnection,
    LogUnderTest,
    submit_all,
    submit_until_taken,
)
from tests.support.counting import add
from tests.support.eventually import eventually

_BOUND_S = 10.0


async def test_a_killed_database_loses_nothing_acknowledged_and_comes_back_by_itself(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async with frail.writer(limits=QUICK) as writer:
        acknowledged = await submit_all(writer, [add(f"k{n}") for n in range(20)])
        await own_server.kill_postgres()
        try:
            started = time.monotonic()
            results = await submit_all(writer, [add("away1"), add("away2")])
            assert {type(one) for one in results} == {LogUnavailableError}
            assert time.monotonic() - started < _BOUND_S
        finally:
            await own_server.start_postgres()
        back = await submit_until_taken(writer, add("back"))
    assert [one.first_position for one in acknowledged] == list(range(1, 21))
    assert back.first_position == 21
    events = await frail.check()
    assert [e.origin.causation_id for e in events] == [*(f"k{n}" for n in range(20)), "back"]


async def test_a_database_killed_under_load_keeps_every_acknowledged_command_once(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    acknowledged: dict[str, Outcome] = {}
    unknown: list[str] = []
    async with frail.writer(limits=QUICK) as writer:

        async def submit(key: str) -> None:
            (result,) = await submit_all(writer, [add(key, f"svc_{key[-1]}")])
            if isinstance(result, Outcome):
                acknowledged[key] = result
            else:
                assert isinstance(result, LogUnavailableError | OutcomeUnknownError)
                unknown.append(key)

        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(submit(f"k{number}"))
                if number % 20 == 0:
                    await eventually(lambda n=number: len(acknowledged) >= n // 3)  # type: ignore[misc]
                if number == 200:
                    await own_server.kill_postgres()
                    break
        await own_server.start_postgres()
        assert acknowledged
        for key in unknown:
            acknowledged[key] = await submit_until_taken(writer, add(key, f"svc_{key[-1]}"))
    events = await frail.check()
    assert sorted(e.origin.causation_id for e in events) == sorted(acknowledged)
    for key, outcome in acknowledged.items():
        assert events[(outcome.first_position or 0) - 1].origin.causation_id == key


async def test_a_frozen_database_is_answered_for_in_bounded_time(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async with frail.writer(limits=QUICK) as writer:
        await writer.submit(add("k1"))
        await own_server.freeze_postgres()
        try:
            started = time.monotonic()
            (result,) = await submit_all(writer, [add("k2")])
            assert isinstance(result, LogUnavailableError)
            assert time.monotonic() - started < _BOUND_S
        finally:
            await own_server.thaw_postgres()
        again = await submit_until_taken(writer, add("k2"))
    assert not again.replayed
    assert await frail.keys() == ["k1", "k2"]


async def test_a_database_frozen_during_commit_is_unknown_and_the_key_resolves_it(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async def freeze(_connection: FaultyConnection) -> None:
        await own_server.freeze_postgres()

    connecting = frail.connecting()
    connecting.before_commit = [freeze]
    async with frail.writer(connecting=connecting, limits=QUICK) as writer:
        try:
            started = time.monotonic()
            (result,) = await submit_all(writer, [add("k1")])
            assert isinstance(result, OutcomeUnknownError)
            assert time.monotonic() - started < _BOUND_S
        finally:
            await own_server.thaw_postgres()
        again = await submit_until_taken(writer, add("k1"))
    assert again.first_position == 1
    assert await frail.keys() == ["k1"]
    await frail.check()


@contextlib.asynccontextmanager
async def standby_missing(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Commits wait for a standby that never answers."""
    admin = await asyncpg.connect(dsn, timeout=5)

    async def wait_for(name: str) -> None:
        await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        await admin.execute("SELECT pg_reload_conf()")

    try:
        await wait_for("nobody")
        yield admin
    finally:
        await wait_for("")
        await admin.close(timeout=5)


async def writer_waits(admin: asyncpg.Connection) -> int | None:
    pid: int | None = await admin.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'",
        APPLICATION,
    )
    return pid


async def cancel_waits(admin: asyncpg.Connection, until: "asyncio.Future[Outcome]") -> None:
    """Cancel every wait for the standby, as an impatient operator does."""
    while not until.done():
        pid = await writer_waits(admin)
        if pid is not None:
            await admin.execute("SELECT pg_cancel_backend($1)", pid)
        await asyncio.sleep(0.02)


async def test_what_no_standby_confirmed_is_unknown_and_never_acknowledged(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async with frail.writer(limits=QUICK) as writer:
        async with standby_missing(own_server.postgres_dsn) as admin:
            answered = writer.enqueue(add("k1"))
            await cancel_waits(admin, answered)
            assert isinstance(answered.exception(), OutcomeUnknownError)
            # It is in this server's log; a repeat must not vouch for it all the same.
            assert await frail.keys() == ["k1"]
            repeated = writer.enqueue(add("k1"))
            await cancel_waits(admin, repeated)
            assert isinstance(repeated.exception(), OutcomeUnknownError)
        again = await submit_until_taken(writer, add("k1"))
    assert (again.first_position, again.replayed) == (1, True)
    assert await frail.keys() == ["k1"]


async def test_another_process_does_not_vouch_for_what_no_standby_confirmed(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async with frail.writer(limits=QUICK) as first, frail.writer(limits=QUICK) as second:
        async with standby_missing(own_server.postgres_dsn) as admin:
            answered = first.enqueue(add("k1"))
            await cancel_waits(admin, answered)
            repeated = second.enqueue(add("k1"))
            await cancel_waits(admin, repeated)
            assert isinstance(repeated.exception(), OutcomeUnknownError)
        again = await submit_until_taken(second, add("k1"))
    assert (again.first_position, again.replayed) == (1, True)


async def test_a_commit_that_waits_for_its_standby_too_long_is_unknown(
    frail: LogUnderTest, own_server: BackingServices
) -> None:
    async with frail.writer(limits=QUICK) as writer:
        async with standby_missing(own_server.postgres_dsn):
            started = time.monotonic()
            (result,) = await submit_all(writer, [add("k1")])
            assert isinstance(result, OutcomeUnknownError)
            assert time.monotonic() - started < _BOUND_S
        assert (await submit_until_taken(writer, add("k1"))).first_position == 1
    assert await frail.keys() == ["k1"]
