import asyncio
import collections
from datetime import UTC, datetime, timedelta

import pytest

from services.registry.services import decider
from services.registry.services.commands import RegisterService
from services.registry.services.decider import SERVICE
from shared.clock import new_id
from shared.commands.command import Context
from shared.contracts.envelope import parse_event
from shared.contracts.events import UnknownEventVersionError
from shared.contracts.events.services import ServiceKind
from shared.contracts.names import is_slug
from shared.eventstore.types import (
    Claim,
    Decision,
    KeyReusedError,
    LogUnavailableError,
    NameTakenError,
    Outcome,
    PendingCommand,
    View,
)
from shared.eventstore.writer import WriterLimits
from tests.integration.eventstore.log_under_test import LogUnderTest, submit_all
from tests.support.builders import admin
from tests.support.counting import COUNTED, add, fact, pending, refuse

SLUG = Claim("service.slug", "one")


async def test_sixteen_writers_over_two_processes_leave_no_gap_and_lose_nothing(
    log: LogUnderTest,
) -> None:
    per_writer, streams = 40, 8
    async with log.writer() as first, log.writer() as second:

        async def write(number: int) -> list[Outcome]:
            writer = (first, second)[number % 2]
            subjects = [f"svc_{(number + n) % streams}" for n in range(per_writer)]
            commands = [add(f"{number}-{n}", s, events=1 + n % 3) for n, s in enumerate(subjects)]
            return [await writer.submit(command) for command in commands]

        written = await asyncio.gather(*(write(number) for number in range(16)))
    events = await log.check()
    assert len(events) == 16 * sum(1 + n % 3 for n in range(per_writer))
    for outcomes in written:
        ends = [outcome.last_position or 0 for outcome in outcomes]
        assert ends == sorted(ends), "a later command of one writer came before an earlier one"


async def test_two_processes_decide_on_each_other_s_commands(log: LogUnderTest) -> None:
    async with log.writer() as first, log.writer() as second:
        outcomes = [await (first, second)[n % 2].submit(add(f"k{n}")) for n in range(10)]
    assert [outcome.answer["held"] for outcome in outcomes] == list(range(10))
    assert [outcome.answer["version"] for outcome in outcomes] == list(range(1, 11))


async def test_one_key_has_one_effect_however_often_it_comes_and_wherever(
    log: LogUnderTest,
) -> None:
    keys = [f"k{n}" for n in range(20)]
    async with log.writer() as first, log.writer() as second:
        outcomes = await asyncio.gather(
            *(writer.submit(add(key)) for key in keys for writer in (first, second) * 4)
        )
    events = await log.check()
    assert collections.Counter(e.origin.causation_id for e in events) == dict.fromkeys(keys, 1)
    for at in range(0, len(outcomes), 8):
        same_key = outcomes[at : at + 8]
        assert {one.first_position for one in same_key} == {same_key[0].first_position}
        assert all(one.answer == same_key[0].answer for one in same_key)
        assert sum(not one.replayed for one in same_key) == 1


async def test_a_key_replays_its_first_answer_in_another_process(log: LogUnderTest) -> None:
    async with log.writer() as first:
        before = await first.submit(add("k", events=2))
        await first.submit(add("other"))
    async with log.writer() as second:
        again = await second.submit(add("k", events=2))
    assert again == Outcome(before.answer, 1, 2, replayed=True)
    assert len(await log.check()) == 3


async def test_a_key_used_for_another_request_is_refused(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k", request="a"))
        with pytest.raises(KeyReusedError):
            await writer.submit(add("k", request="b"))
    assert len(await log.check()) == 1


async def test_an_accepted_command_that_changed_nothing_replays_too(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        first = await writer.submit(add("k", events=0))
        await writer.submit(add("k2"))
        again = await writer.submit(add("k", events=0))
        with pytest.raises(KeyReusedError):
            await writer.submit(add("k", events=0, request="other"))
    assert again == Outcome(first.answer, None, None, replayed=True)
    assert again.answer["held"] == 0


async def test_of_many_that_want_one_name_one_gets_it_and_only_the_others_are_refused(
    log: LogUnderTest,
) -> None:
    async with log.writer() as first, log.writer() as second:
        wanting = [add(f"k{n}", f"svc_{n}", claims=(SLUG,)) for n in range(10)]
        bystanders = [add(f"b{n}", f"svc_{n}") for n in range(10)]
        mixed = [one for pair in zip(wanting, bystanders, strict=True) for one in pair]
        results = await asyncio.gather(
            *(submit_all((first, second)[n % 2], [one]) for n, one in enumerate(mixed[:2])),
            submit_all(first, mixed[2:10]),
            submit_all(second, mixed[10:]),
        )
    flat = [one for some in results for one in some]
    assert sum(isinstance(one, NameTakenError) for one in flat) == 9
    assert sum(isinstance(one, Outcome) for one in flat) == 11
    events = await log.check()
    (claim,) = await log.pool.fetch("SELECT kind, value, stream, position FROM log.claims")
    assert (claim["kind"], claim["value"]) == ("service.slug", "one")
    assert events[claim["position"] - 1].stream == claim["stream"]


async def test_a_loser_does_not_fail_its_batch(log: LogUnderTest) -> None:
    def faulty(_view: View) -> Decision:
        raise ZeroDivisionError

    async with log.writer() as writer:
        results = await submit_all(
            writer,
            [
                add("k1"),
                refuse("k2"),
                pending("k3", faulty),
                add("k4", alias="crm:" + "x" * 600_000),
                add("k1", request="other"),
                add("k5"),
            ],
        )
    kinds = [type(one).__name__ for one in results]
    assert kinds == [
        "Outcome",
        "CommandRefusedError",
        "ZeroDivisionError",
        "EventTooLargeError",
        "KeyReusedError",
        "Outcome",
    ]
    assert await log.keys() == ["k1", "k5"]


async def test_a_batch_is_cut_where_it_grows_large_and_the_rest_follows_in_order(
    log: LogUnderTest,
) -> None:
    heads: list[int] = []
    limits = WriterLimits(batch_max_bytes=20_000, batch_max_commands=10)
    async with log.writer(
        limits=limits, on_batch=lambda done: heads.append(done.position)
    ) as writer:
        commands = [add(f"k{n}", alias="crm:" + "x" * 5_000) for n in range(20)]
        outcomes = await submit_all(writer, commands)
    assert [outcome.first_position for outcome in outcomes] == list(range(1, 21))
    assert heads == [4, 8, 12, 16, 20]
    await log.check()


async def test_a_batch_holds_so_many_commands_and_no_more(log: LogUnderTest) -> None:
    heads: list[int] = []
    limits = WriterLimits(batch_max_commands=7)
    async with log.writer(
        limits=limits, on_batch=lambda done: heads.append(done.position)
    ) as writer:
        await submit_all(writer, [add(f"k{n}") for n in range(20)])
    assert heads == [7, 14, 20]


async def test_recorded_time_rises_even_when_the_clock_of_the_database_went_back(
    log: LogUnderTest,
) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k1"))
        ahead = datetime.now(UTC) + timedelta(hours=1)
        await log.as_app("UPDATE log.head SET recorded_at = $1", ahead)
        await submit_all(writer, [add("k2"), add("k3")])
    events = await log.check()
    assert [event.recorded_at - ahead for event in events[1:]] == [
        timedelta(microseconds=1),
        timedelta(microseconds=2),
    ]


async def test_a_dry_run_leaves_the_log_as_it_was(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        before = await log.reader.head()
        dry = await writer.submit(add("k", claims=(SLUG,), dry_run=True))
        assert await log.reader.head() == before
        wet = await writer.submit(add("k", claims=(SLUG,)))
    assert dry.first_position is None
    assert (wet.first_position, wet.replayed) == (1, False)


def register(key: str, name: str) -> PendingCommand:
    context = Context(admin(), datetime.now(UTC), datetime.now(UTC), new_id(""))
    command = RegisterService(name=name, kind=ServiceKind.API)
    return pending(key, lambda view: decider.register(command, None, context, view))


async def test_hundreds_of_one_name_in_one_batch_each_get_a_slug(log: LogUnderTest) -> None:
    async with log.writer(categories={"service": SERVICE}, limits=WriterLimits()) as writer:
        outcomes = await submit_all(writer, [register(f"k{n}", "Search") for n in range(300)])
        assert all(isinstance(one, Outcome) for one in outcomes), outcomes[0]
    async with log.writer(categories={"service": SERVICE}, limits=WriterLimits()) as cold:
        last = await cold.submit(register("last", "Search"))
    slugs = [one.answer["slug"] for one in (*outcomes, last)]
    assert slugs == ["search", *(f"search-{n}" for n in range(2, 302))]
    assert all(map(is_slug, slugs))


async def test_a_decision_that_never_has_enough_is_refused_alone(log: LogUnderTest) -> None:
    def insatiable(view: View) -> Decision:
        number = 0
        while view.claimed("service.slug", f"s-{number}") is None:
            number += 1
        raise AssertionError("unreachable")

    limits = WriterLimits(decide_max_passes=5)
    async with log.writer(limits=limits) as writer:
        results = await submit_all(writer, [add("k1"), pending("k2", insatiable), add("k3")])
    assert isinstance(results[1], LogUnavailableError)
    assert [results[0].first_position, results[2].first_position] == [1, 2]


async def test_a_stream_from_the_future_fails_only_who_needs_it(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k1", "svc_new"))
    newer = b"estate.service.alias_added.v9"
    (event,) = await log.events()
    body = event.body.replace(b"estate.service.alias_added.v1", newer)
    await log.as_owner("UPDATE log.events SET body = $1", body)
    async with log.writer() as writer:
        results = await submit_all(writer, [add("k2", "svc_new"), add("k3", "svc_2")])
    assert isinstance(results[0], UnknownEventVersionError)
    assert results[1].first_position == 2


async def test_decisions_may_ask_about_things_of_other_logs(log: LogUnderTest) -> None:
    asked: list[set[tuple[str, str]]] = []

    async def look_up(questions: object) -> dict[tuple[str, str], str]:
        asked.append(set(questions))  # type: ignore[call-overload]
        return {(question, about): about.upper() for question, about in asked[-1]}

    def decide(about: str) -> PendingCommand:
        return pending(
            about,
            lambda view: Decision(
                "svc_1",
                (fact("svc_1"),),
                {"keeper": view.looked_up("keeper", about), "v": view.load(COUNTED, "svc_1").state},
            ),
        )

    async with log.writer(look_up=look_up) as writer:
        first, second = await submit_all(writer, [decide("a"), decide("b")])
    assert (first.answer["keeper"], second.answer["keeper"]) == ("A", "B")
    assert asked == [{("keeper", "a"), ("keeper", "b")}]


async def test_every_event_says_who_by_what_for_whom_and_when(log: LogUnderTest) -> None:
    async with log.writer() as writer:
        await writer.submit(add("k"))
    (event,) = await log.events()
    assert event.origin == parse_event(event.body).origin
    assert (event.origin.actor, event.origin.credential_id) == ("prn_test", "crd_test")
    assert (event.origin.organisation, event.origin.causation_id) == ("org_test", "k")
    assert abs((datetime.now(UTC) - event.recorded_at).total_seconds()) < 60
