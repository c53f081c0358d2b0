"""What the writer answers when the database, the clock or its own process lets it down."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.eventstore.append import OPEN_GATE
from shared.eventstore.types import (
    Claim,
    ClockSuspectError,
    Decision,
    KeyReusedError,
    LogHaltedError,
    LogUnavailableError,
    Outcome,
    OutcomeUnknownError,
    OverloadedError,
    PendingCommand,
    View,
)
from shared.eventstore.writer import WriterLimits
from tests.integration.eventstore.log_under_test import (
    APPLICATION,
    QUICK,
    Connecting,
    FaultyConnection,
    LogUnderTest,
    submit_all,
    submit_until_taken,
)
from tests.support.clock import ShiftedClock
from tests.support.counting import add
from tests.support.eventually import eventually


async def die(connection: FaultyConnection) -> None:
    """The server ends the session, as an operator or a fail-over would."""
    pid = connection.get_server_pid()
    admin = await asyncpg.connect(connection.dsn, timeout=5)
    try:
        await admin.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    finally:
        await admin.close()


async def lose(connection: FaultyConnection) -> None:
    """The connection is gone before its answer came."""
    connection.terminate()
    raise ConnectionResetError("lost")


async def test_a_commit_that_never_arrived_is_made_again_and_nothing_doubled(
    log: LogUnderTest,
) -> None:
    connecting = log.connecting()
    connecting.before_commit = [die]
    async with log.writer(connecting=connecting) as writer:
        results = await submit_all(writer, [add("k1"), add("k2", events=2), add("k1")])
    assert [one.first_position for one in results] == [1, 2, 1]
    assert await log.keys() == ["k1", "k2", "k2"]
    assert connecting.made > 1
    await log.check()


async def test_a_commit_whose_answer_was_lost_is_found_and_nothing_doubled(
    log: LogUnderTest,
) -> None:
    connecting = log.connecting()
    connecting.after_commit = [lose]
    async with log.writer(connecting=connecting) as writer:
        results = await submit_all(
            writer, [add("k1"), add("k2", events=2), add("k2", request="other")]
        )
        assert [one.first_position for one in results[:2]] == [1, 2]
        assert not any(one.replayed for one in results[:2]), "it was their own commit"
        assert isinstance(results[2], KeyReusedError)
        assert (await writer.submit(add("k3"))).answer["held"] == 3
    assert await log.keys() == ["k1", "k2", "k2", "k3"]
    await log.check()


async def test_a_connection_lost_again_while_resolving_is_resolved_by_the_next(
    log: LogUnderTest,
) -> None:
    connecting = log.connecting()
    connecting.after_commit = [lose]
    connecting.before_commit = [None, lose, None]
    async with log.writer(connecting=connecting) as writer:
        outcome = await writer.submit(add("k1"))
    assert outcome.first_position == 1
    assert connecting.made == 3
    assert await log.keys() == ["k1"]


async def test_a_commit_that_cannot_be_resolved_is_unknown_and_its_key_resolves_it_later(
    log: LogUnderTest,
) -> None:
    connecting = log.connecting()
    connecting.after_commit = [lose]
    connecting.before_commit = [None, *[lose] * 1_000]
    async with log.writer(connecting=connecting, limits=QUICK) as writer:
        (result,) = await submit_all(writer, [add("k1")])
        assert isinstance(result, OutcomeUnknownError)
        connecting.before_commit.clear()
        again = await submit_until_taken(writer, add("k1"))
    assert (again.first_position, again.replayed) == (1, True)
    assert await log.keys() == ["k1"]


async def test_a_command_refused_beside_a_lost_commit_gets_its_answer(log: LogUnderTest) -> None:
    connecting = log.connecting()
    connecting.after_commit = [lose]
    slug = Claim("service.slug", "one")
    async with log.writer(connecting=connecting) as writer:
        results = await submit_all(
            writer,
            [add("k1", claims=(slug,)), add("k2", "svc_2", claims=(slug,)), add("k3")],
        )
    assert [type(one).__name__ for one in results] == ["Outcome", "NameTakenError", "Outcome"]
    assert await log.keys() == ["k1", "k3"]


async def test_a_session_ended_between_two_commands_costs_no_answer_twice(
    log: LogUnderTest,
) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k1"))
        await log.as_app(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = $1 AND datname = current_database()",
            APPLICATION,
        )
        outcome = await submit_until_taken(writer, add("k2"))
    assert outcome.first_position == 2
    assert await log.keys() == ["k1", "k2"]


def asking(key: str) -> PendingCommand:
    """A command whose decision needs an answer from beside the log."""
    command = add(key)
    plain = command.decide

    def decide(view: View) -> Decision:
        view.looked_up("keeper", "x")
        return plain(view)

    return dataclasses.replace(command, decide=decide)


async def test_a_session_ended_while_deciding_writes_nothing_and_says_so(
    log: LogUnderTest,
) -> None:
    async def look_up(questions: object) -> dict[tuple[str, str], None]:
        await log.as_app(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = $1 AND datname = current_database()",
            APPLICATION,
        )
        return dict.fromkeys(questions)  # type: ignore[call-overload,no-any-return]

    async with log.writer(look_up=look_up) as writer:
        (result,) = await submit_all(writer, [asking("k1")])
        assert isinstance(result, LogUnavailableError)
        assert (await submit_until_taken(writer, add("k2"))).first_position == 1
    await log.check()


async def test_a_decision_that_waits_too_long_lets_the_gate_go(log: LogUnderTest) -> None:
    async def look_up(_questions: object) -> dict[tuple[str, str], None]:
        await asyncio.Event().wait()
        return {}

    limits = WriterLimits(decide_deadline_s=0.2)
    async with log.writer(look_up=look_up, limits=limits) as writer:
        (result,) = await submit_all(writer, [asking("k1")])
        assert isinstance(result, LogUnavailableError)
        assert (await submit_until_taken(writer, add("k2"))).first_position == 1
    await log.check()


async def test_a_gate_that_somebody_holds_is_not_waited_for_for_ever(log: LogUnderTest) -> None:
    connecting = Connecting(log.access.app_dsn, lock_timeout="200ms")
    async with log.pool.acquire() as other, log.writer(connecting=connecting) as writer:
        await other.execute(OPEN_GATE)
        (result,) = await submit_all(writer, [add("k1")])
        assert isinstance(result, LogUnavailableError)
        await other.execute("ROLLBACK")
        assert (await writer.submit(add("k1"))).first_position == 1


async def test_a_process_frozen_in_the_middle_of_a_copy_lets_the_gate_go(
    log: LogUnderTest,
) -> None:
    connecting = Connecting(log.access.app_dsn, lock_timeout="200ms")
    frozen = await connecting()

    async def rows() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    await frozen.execute(OPEN_GATE)
    copying = asyncio.create_task(
        frozen.copy_to_table("events", schema_name="log", columns=["position"], source=rows())
    )
    limits = WriterLimits(gate_hold_max_s=1.0)
    async with log.writer(connecting=connecting, limits=limits) as writer:
        (result,) = await submit_all(writer, [add("k1")])
        assert isinstance(result, LogUnavailableError)
        assert (await submit_until_taken(writer, add("k1"))).first_position == 1
    await log.check()
    copying.cancel()
    await asyncio.wait({copying})
    frozen.terminate()


async def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(log: LogUnderTest) -> None:
    limits = WriterLimits(queue_max_commands=3, batch_max_commands=1)
    async with log.writer(limits=limits) as writer:
        waiting = [writer.enqueue(add(f"k{n}")) for n in range(3)]
        with pytest.raises(OverloadedError):
            writer.enqueue(add("k3"))
        assert writer.depth == 3
        assert [(await one).first_position for one in waiting] == [1, 2, 3]
        assert (await writer.submit(add("k3"))).first_position == 4


@pytest.mark.parametrize("seconds", [-61.5, 61.5])
async def test_clocks_that_differ_too_much_stop_the_log(log: LogUnderTest, seconds: float) -> None:
    clock = ShiftedClock(seconds)
    async with log.writer(clock=clock) as writer:
        results = await submit_all(writer, [add("k1"), add("k2")])
        assert {type(one) for one in results} == {ClockSuspectError}
        clock.seconds = seconds / 2
        assert (await writer.submit(add("k1"))).first_position == 1
    assert len(await log.check()) == 1


async def test_a_halted_log_takes_nothing_until_it_is_let_go(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        await log.as_app("UPDATE log.head SET halted = 'the topic is ahead'")
        (result,) = await submit_all(writer, [add("k1")])
        assert isinstance(result, LogHaltedError)
        assert str(result) == "the topic is ahead"
        await log.as_app("UPDATE log.head SET halted = NULL")
        assert (await writer.submit(add("k1"))).first_position == 1


async def test_a_log_that_was_never_opened_takes_nothing(log: LogUnderTest) -> None:
    await log.as_owner("DELETE FROM log.head")
    async with log.writer() as writer:
        (result,) = await submit_all(writer, [add("k1")])
    assert isinstance(result, LogHaltedError)


async def test_a_graceful_stop_answers_everybody(log: LogUnderTest) -> None:
    limits = WriterLimits(batch_max_commands=10)
    async with log.writer(limits=limits) as writer:
        waiting = [writer.enqueue(add(f"k{n}")) for n in range(40)]
        await asyncio.sleep(0)
        await writer.stop()
        results = await asyncio.wait_for(
            asyncio.gather(*waiting, return_exceptions=True), timeout=5
        )
    accepted = [f"k{n}" for n, one in enumerate(results) if isinstance(one, Outcome)]
    refused = [one for one in results if not isinstance(one, Outcome)]
    assert accepted == await log.keys()
    assert 10 <= len(accepted) < 40
    assert {type(one) for one in refused} == {LogUnavailableError}


async def test_a_writer_that_was_stopped_refuses_at_once(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k1"))
        await writer.stop()
        with pytest.raises(LogUnavailableError):
            await asyncio.wait_for(writer.submit(add("k2")), timeout=5)
        await writer.start()
        assert (await writer.submit(add("k2"))).first_position == 2


async def test_a_caller_that_goes_away_does_not_take_its_command_along(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        caller = asyncio.create_task(writer.submit(add("k1")))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

        async def is_there() -> bool:
            return await log.keys() == ["k1"]

        await eventually(is_there, 5)
        assert (await writer.submit(add("k1"))).replayed


async def test_a_caller_that_goes_away_from_a_refusal_leaves_no_noise(log: LogUnderTest) -> None:
    await log.as_app("UPDATE log.head SET halted = 'x'")
    async with log.writer() as writer:
        caller = asyncio.create_task(writer.submit(add("k1")))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await submit_all(writer, [add("k2")])


async def test_nothing_is_answered_before_it_is_durable(log: LogUnderTest) -> None:
    seen: list[int] = []

    async def look(_connection: FaultyConnection) -> None:
        seen.append((await log.reader.head()).position)
        assert not answered.done()

    connecting = log.connecting()
    connecting.before_commit = [look]
    async with log.writer(connecting=connecting) as writer:
        answered = writer.enqueue(add("k1"))
        await answered
    assert seen == [0]
    assert (await log.reader.head()).position == 1
