import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import rfc8785

from shared.contracts.envelope import leaf_of, parse_event
from shared.contracts.events.services import ServiceAliasAdded
from shared.eventstore.batch import Batch, Head, KnownCommand
from shared.eventstore.merkle import Frontier
from shared.eventstore.types import (
    Category,
    Claim,
    CommandRefusedError,
    Decision,
    EventTooLargeError,
    Fact,
    KeyReusedError,
    Loaded,
    NameTakenError,
    Outcome,
    PendingCommand,
    View,
)
from shared.eventstore.view import BatchView, Cache, MissingError
from tests.support.counting import CATEGORIES, COUNTED, EFFECTIVE, OTHER, add, fact, pending, refuse
from tests.support.ids import CountedIds

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SLUG = Claim("service.slug", "one")
OTHER_SLUG = Claim("service.slug", "two")
STREAMS = [f"service-svc_{n}" for n in range(1, 5)]


def a_head(position: int = 0, recorded_at: datetime = NOW - timedelta(days=1)) -> Head:
    tree = Frontier(0, [])
    for number in range(position):
        tree.append(hashlib.sha256(bytes([number])).digest())
    return Head("registry", 1, position, recorded_at, tree)


def a_cache(
    streams: Iterable[str] = STREAMS, claims: Iterable[Claim] = (SLUG,), taken: Any = None
) -> Cache:
    cache = Cache(CATEGORIES)
    for stream in streams:
        cache.put_state(stream, Loaded(0, 0))
    for claim in claims:
        cache.put_claim(claim, taken)
    return cache


def a_batch(
    cache: Cache | None = None,
    head: Head | None = None,
    known: dict[str, KnownCommand] | None = None,
    categories: Any = CATEGORIES,
) -> Batch:
    view = BatchView(cache or a_cache(), {})
    return Batch(head or a_head(), view, categories, CountedIds(), NOW, known or {})


def decided(batch: Batch, *commands: PendingCommand) -> list[Any]:
    for command in commands:
        batch.decide(command)
    return batch.results


def test_positions_go_on_behind_the_head_in_the_order_of_the_queue() -> None:
    batch = a_batch(head=a_head(41))
    results = decided(batch, add("k1", events=2), add("k2", "svc_2"), add("k3"))
    assert [row[0] for row in batch.events] == [42, 43, 44, 45]
    assert [row[1] for row in batch.events] == [
        "service-svc_1",
        "service-svc_1",
        "service-svc_2",
        "service-svc_1",
    ]
    assert [row[2] for row in batch.events] == [1, 2, 1, 3]
    assert [(one.first_position, one.last_position) for one in results] == [
        (42, 43),
        (44, 44),
        (45, 45),
    ]
    assert batch.position == 45


def test_the_answer_tells_id_events_version_and_position() -> None:
    (outcome,) = decided(a_batch(), add("k", events=2))
    assert outcome.answer == {
        "id": "svc_1",
        "events": [
            {"type": "estate.service.alias_added.v1", "position": "registry:1"},
            {"type": "estate.service.alias_added.v1", "position": "registry:2"},
        ],
        "held": 0,
        "version": 2,
        "positions": "registry:2",
    }


def test_the_answer_names_the_timeline_behind_the_first() -> None:
    head = a_head()
    batch = a_batch(head=Head(head.log, 3, 0, head.recorded_at, head.tree))
    (outcome,) = decided(batch, add("k"))
    assert outcome.answer["positions"] == "registry@3:1"
    assert parse_event(batch.events[0][6]).timeline == 3


def test_a_command_sees_what_the_batch_decided_before_it() -> None:
    first, second = decided(a_batch(), add("k1", events=2), add("k2"))
    assert (first.answer["held"], second.answer["held"]) == (0, 2)


def test_every_row_is_a_sealed_event_that_says_who_and_why() -> None:
    batch = a_batch(head=a_head(6))
    decided(batch, add("k1"))
    position, stream, version, kind, recorded_at, leaf, body = batch.events[0]
    event = parse_event(body)
    assert (event.position, event.stream, event.stream_version) == (position, stream, version)
    assert (event.type, event.recorded_at, event.log) == (kind, recorded_at, "registry")
    assert (event.effective_at, event.id) == (EFFECTIVE, "evt_" + "0" * 31 + "1")
    who = event.origin
    assert (who.actor, who.credential_id, who.organisation, who.door) == (
        "prn_test",
        "crd_test",
        "org_test",
        "http",
    )
    assert (who.correlation_id, who.causation_id) == ("correlation", "k1")
    assert leaf_of(body) == leaf
    assert rfc8785.dumps(orjson.loads(body)) == body


def test_no_two_events_share_a_salt() -> None:
    batch = a_batch()
    decided(batch, add("k", events=3))
    assert len({orjson.loads(row[6])["datasalt"] for row in batch.events}) == 3


def test_the_tree_grows_by_every_leaf() -> None:
    batch = a_batch(head=a_head(5))
    decided(batch, add("k1", events=2), refuse("k2"), add("k3"))
    expected = a_head(5).tree
    for row in batch.events:
        expected.append(row[5])
    assert (batch.tree.size, batch.tree.root()) == (8, expected.root())
    assert batch.head.tree.size == 5


def test_recorded_time_rises_by_a_microsecond_at_least() -> None:
    batch = a_batch()
    decided(batch, add("k", events=3))
    microsecond = timedelta(microseconds=1)
    assert [row[4] for row in batch.events] == [NOW, NOW + microsecond, NOW + 2 * microsecond]
    assert batch.recorded_at == NOW + 2 * microsecond


def test_commands_that_change_nothing_are_recorded_when_they_are() -> None:
    for head in (a_head(recorded_at=datetime(1970, 1, 1, tzinfo=UTC)), a_head(3)):
        batch = a_batch(head=head)
        decided(batch, add("k", events=0))
        assert (batch.position, batch.recorded_at) == (head.position, NOW)


def test_recorded_time_rises_even_when_the_clock_of_the_database_went_back() -> None:
    ahead = NOW + timedelta(hours=1)
    batch = a_batch(head=a_head(recorded_at=ahead))
    decided(batch, add("k1"), add("k2"))
    assert [row[4] - ahead for row in batch.events] == [
        timedelta(microseconds=1),
        timedelta(microseconds=2),
    ]


def test_a_name_is_taken_once_and_only_the_loser_is_refused() -> None:
    batch = a_batch()
    results = decided(
        batch,
        add("k1", claims=(SLUG,)),
        add("k2", "svc_2", claims=(SLUG,)),
        add("k3", "svc_2"),
    )
    assert isinstance(results[1], NameTakenError)
    assert results[1].claim == SLUG
    assert batch.claims == [("service.slug", "one", "service-svc_1", 1)]
    assert [row[1] for row in batch.events] == ["service-svc_1", "service-svc_2"]


def test_a_name_taken_before_the_batch_is_refused() -> None:
    cache = a_cache(taken="service-svc_9")
    results = decided(a_batch(cache), add("k1", claims=(SLUG,)))
    assert isinstance(results[0], NameTakenError)


def test_a_stream_may_claim_its_own_name_again_without_a_second_row() -> None:
    batch = a_batch()
    decided(batch, add("k1", claims=(SLUG,)), add("k2", claims=(SLUG,)))
    assert len(batch.events) == 2
    assert len(batch.claims) == 1


def test_two_streams_of_one_command_cannot_take_the_same_name() -> None:
    def decide(_view: View) -> Decision:
        return Decision("svc_1", (fact("svc_1", SLUG), fact("svc_2", SLUG)))

    batch = a_batch()
    (refused,) = decided(batch, pending("k", decide))
    assert isinstance(refused, NameTakenError)
    assert not batch.events
    assert not batch.accepted


def test_a_refused_command_leaves_no_trace() -> None:
    batch = a_batch()
    results = decided(batch, refuse("k1"), add("k2"))
    assert isinstance(results[0], CommandRefusedError)
    assert results[1].answer["held"] == 0
    assert list(batch.accepted) == ["k2"]
    assert batch.position == 1


def test_a_fault_in_one_decision_is_that_command_s_alone() -> None:
    def decide(_view: View) -> Decision:
        raise ZeroDivisionError

    results = decided(a_batch(), pending("k1", decide), add("k2"))
    assert isinstance(results[0], ZeroDivisionError)
    assert results[1].first_position == 1


def test_a_fold_that_fails_leaves_no_half_of_its_command_behind() -> None:
    def evolve(state: int, fact: Fact) -> int:
        assert isinstance(fact.data, ServiceAliasAdded)
        if fact.data.alias == "crm:bad":
            raise ValueError("no such state")
        return state + 1

    def decide(_view: View) -> Decision:
        return Decision("svc_1", (fact("svc_1", SLUG), fact("svc_1", alias="crm:bad")))

    batch = a_batch(categories={"service": Category("service", 0, evolve)})
    results = decided(batch, pending("k1", decide), add("k2"))
    assert isinstance(results[0], ValueError)
    assert [row[0] for row in batch.events] == [1]
    assert batch.tree.size == 1
    assert not batch.claims
    assert results[1].answer["held"] == 0
    assert results[1].answer["version"] == 1


def test_a_decision_about_one_thing_may_write_of_another_only() -> None:
    def decide(_view: View) -> Decision:
        return Decision("svc_1", (fact("svc_2"),))

    batch = a_batch()
    (outcome,) = decided(batch, pending("k", decide))
    assert outcome.answer["positions"] == "registry:1"
    assert "version" not in outcome.answer


def test_one_command_may_write_several_streams_and_each_counts_for_itself() -> None:
    def decide(_view: View) -> Decision:
        return Decision("svc_2", (fact("svc_1"), fact("svc_2"), fact("svc_1")))

    batch = a_batch()
    (outcome,) = decided(batch, pending("k", decide))
    assert [(row[1], row[2]) for row in batch.events] == [
        ("service-svc_1", 1),
        ("service-svc_2", 1),
        ("service-svc_1", 2),
    ]
    assert outcome.answer["version"] == 1
    assert batch.view.load(COUNTED, "svc_1") == Loaded(2, 2)


def test_a_key_repeated_within_the_batch_replays_the_first_outcome() -> None:
    batch = a_batch()
    first, second = decided(batch, add("k", events=2), add("k", events=2))
    assert not first.replayed
    assert second == Outcome(first.answer, 1, 2, replayed=True)
    assert batch.position == 2


def test_a_key_repeated_with_another_request_is_refused() -> None:
    batch = a_batch()
    _, second = decided(batch, add("k", request="a"), add("k", request="b"))
    assert isinstance(second, KeyReusedError)
    assert batch.position == 1


def test_a_key_that_is_in_the_log_replays_without_being_decided() -> None:
    def decide(_view: View) -> Decision:
        raise AssertionError("decided again")

    again = pending("k", decide, request="a")
    known = {"k": KnownCommand(again.request_hash, Outcome({"id": "x"}, 3, 4))}
    batch = a_batch(known=known)
    results = decided(batch, again, pending("k", decide, request="b"))
    assert results[0] == Outcome({"id": "x"}, 3, 4, replayed=True)
    assert isinstance(results[1], KeyReusedError)
    assert not batch.accepted


def test_a_batch_that_only_replays_still_vouches_for_the_log() -> None:
    known = {"k": KnownCommand(add("k").request_hash, Outcome({"id": "x"}, 3, 4))}
    batch = a_batch(known=known)
    decided(batch, refuse("r"))
    assert not batch.vouches
    decided(batch, add("k"))
    assert batch.vouches
    assert not batch.accepted


def test_a_refused_key_may_be_used_again() -> None:
    _, second = decided(a_batch(), refuse("k"), add("k"))
    assert second.first_position == 1


def test_an_accepted_command_that_changes_nothing_is_kept_by_its_key() -> None:
    batch = a_batch()
    first, second = decided(batch, add("k", events=0), add("k", events=0))
    assert (first.first_position, first.last_position) == (None, None)
    assert second.replayed
    assert batch.position == 0
    assert list(batch.accepted) == ["k"]
    assert batch.vouches


def test_a_dry_run_leaves_no_trace() -> None:
    batch = a_batch()
    dry, wet = decided(batch, add("k", events=2, claims=(SLUG,), dry_run=True), add("k"))
    kind = {"type": "estate.service.alias_added.v1"}
    assert dry == Outcome({"id": "svc_1", "events": [kind, kind], "held": 0}, None, None)
    assert not wet.replayed
    assert wet.answer["held"] == 0
    assert batch.position == 1
    assert not batch.claims


def test_a_dry_run_alone_writes_nothing_and_is_refused_as_the_command_would_be() -> None:
    batch = a_batch(a_cache(taken="service-svc_9"))
    results = decided(batch, add("k1", dry_run=True), add("k2", claims=(SLUG,), dry_run=True))
    assert isinstance(results[1], NameTakenError)
    assert not batch.vouches
    assert (batch.events, batch.claims, batch.tree.size) == ([], [], 0)


def test_an_event_too_large_to_publish_is_refused_alone() -> None:
    batch = a_batch()
    large = "crm:" + "x" * 600_000
    results = decided(batch, add("k1", alias=large), add("k2"))
    assert isinstance(results[0], EventTooLargeError)
    assert batch.position == 1
    assert batch.size_bytes == len(batch.events[0][6])


def test_what_nobody_loaded_is_named_and_the_batch_left_as_it_was() -> None:
    batch = a_batch(a_cache(streams=[], claims=[]))
    with pytest.raises(MissingError):
        batch.decide(add("k1", claims=(SLUG,)))
    assert batch.view.missing_streams == {"service-svc_1"}
    assert not batch.view.is_complete
    assert (batch.events, batch.results, batch.accepted) == ([], [], {})


def test_what_one_command_lacks_does_not_hold_up_the_next() -> None:
    batch = a_batch(a_cache(streams=["service-svc_2"]))
    with pytest.raises(MissingError):
        batch.decide(add("k1"))
    assert decided(batch, add("k2", "svc_2"))[0].first_position == 1


def test_all_that_a_decision_writes_to_is_named_at_once() -> None:
    def decide(_view: View) -> Decision:
        return Decision("svc_1", (fact("svc_1", SLUG), fact("svc_2"), fact("svc_3", OTHER_SLUG)))

    batch = a_batch(a_cache(streams=[], claims=[]))
    with pytest.raises(MissingError):
        batch.decide(pending("k", decide))
    assert batch.view.missing_claims == {SLUG, OTHER_SLUG}
    assert batch.view.missing_streams == {f"service-svc_{n}" for n in (1, 2, 3)}
    assert batch.results == []


def test_a_claim_that_nobody_loaded_is_named() -> None:
    batch = a_batch(a_cache(claims=[]))
    with pytest.raises(MissingError):
        batch.decide(add("k1", claims=(SLUG,)))
    assert batch.view.missing_claims == {SLUG}


def test_first_free_asks_for_all_that_is_missing_at_once() -> None:
    view = BatchView(a_cache(taken="service-svc_9"), {})
    with pytest.raises(MissingError):
        view.first_free("service.slug", ["one", "two", "three"])
    assert {claim.value for claim in view.missing_claims} == {"two", "three"}


def test_first_free_gives_the_first_that_nobody_holds_or_none() -> None:
    two = Claim("service.slug", "two")
    view = BatchView(a_cache(claims=[SLUG, two], taken="service-svc_9"), {})
    assert view.first_free("service.slug", ["one", "two"]) is None
    view = BatchView(a_cache(claims=[SLUG, two]), {})
    view.take(SLUG, "service-svc_1")
    assert view.first_free("service.slug", ["one", "two", "unloaded"]) == "two"
    assert view.is_complete


def test_nothing_reaches_the_cache_before_the_batch_is_kept() -> None:
    cache = a_cache()
    batch = a_batch(cache)
    decided(batch, add("k1", claims=(SLUG,)))
    assert cache.state("service-svc_1") == Loaded(0, 0)
    assert cache.holder(SLUG) is None
    batch.view.keep(batch.position)
    assert cache.state("service-svc_1") == Loaded(1, 1)
    assert cache.holder(SLUG) == "service-svc_1"
    assert cache.position == 1


def test_a_stream_that_cannot_be_read_fails_only_who_needs_it() -> None:
    fault = ValueError("from the future")
    view = BatchView(a_cache(streams=["service-svc_2"]), {}, {"service-svc_1": fault})
    batch = Batch(a_head(), view, CATEGORIES, CountedIds(), NOW, {})
    results = decided(batch, add("k1"), add("k2", "svc_2"))
    assert results[0] is fault
    assert results[1].first_position == 1
    assert view.is_complete


def test_an_answer_of_another_log_is_asked_for_once_and_then_used() -> None:
    view = BatchView(a_cache(), {})
    with pytest.raises(MissingError):
        view.looked_up("keeper", "x")
    assert view.missing_answers == {("keeper", "x")}
    assert BatchView(a_cache(), {("keeper", "x"): None}).looked_up("keeper", "x") is None


def test_categories_do_not_mix_streams_of_one_subject() -> None:
    cache = a_cache(streams=["service-x", "organisation-x"])
    batch = a_batch(cache)
    decided(batch, add("k", "x"))
    assert batch.view.load(COUNTED, "x").version == 1
    assert batch.view.load(OTHER, "x").version == 0
