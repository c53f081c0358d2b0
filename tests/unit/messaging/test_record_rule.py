from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.envelope import leaf_of, seal
from shared.messaging.topic_feed import follow
from shared.projections.feed import Checkpoint

START = Checkpoint("registry")


def body(position: int, *, timeline: int = 1, log: str = "registry") -> bytes:
    attributes = {
        "specversion": "1.0",
        "id": f"evt_{position}",
        "source": f"estate/{log}",
        "type": "estate.service.registered.v1",
        "subject": "svc_1",
        "time": "2026-01-01T00:00:00.000000Z",
        "position": str(position),
        "timeline": str(timeline),
        "streamversion": "1",
        "recordedtime": "2026-01-01T00:00:00.000000Z",
        "actor": "a",
        "credentialid": "c",
        "door": "http",
        "correlationid": "x",
        "causationid": "y",
    }
    return seal(attributes, {"n": position}, b"0" * 16)[0]


def record(offset: int, value: bytes | None) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("t", 0, offset, 0, 0, None, value, None, 0, 0, ())


def records(values: Sequence[bytes | None]) -> list[ConsumerRecord[bytes, bytes]]:
    return [record(100 + index, value) for index, value in enumerate(values)]


def test_events_that_follow_on_are_delivered() -> None:
    followed = follow(START, records([body(1), body(2)]), 3)
    assert [event.position for event in followed.events] == [1, 2]
    assert followed.end == Checkpoint("registry", 2, 1, leaf_of(body(2)), 101, 3)
    assert (followed.dropped, followed.fault) == (0, None)


def test_repeats_alone_leave_the_checkpoint_where_it_was() -> None:
    after = Checkpoint("registry", 2, 1, leaf_of(body(2)), 7, 1)
    followed = follow(after, records([body(1), body(2)]), 1)
    assert (followed.events, followed.end, followed.dropped) == ((), after, 2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (body(3), "gap"),
        (b"x", "unreadable"),
        (None, "unreadable"),
        (b"{}", "unreadable"),
        (body(2, log="dependencies"), "unreadable"),
    ],
)
def test_what_does_not_follow_on_ends_the_batch(value: bytes | None, reason: str) -> None:
    followed = follow(START, records([body(1), value, body(2)]), 1)
    assert followed.end.position == 1
    assert followed.fault is not None
    assert followed.fault.reason == reason


def test_a_later_timeline_may_follow_on_but_no_earlier() -> None:
    followed = follow(START, records([body(1), body(2, timeline=2)]), 1)
    assert followed.end.timeline == 2
    back = follow(followed.end, records([body(3, timeline=1)]), 1)
    assert back.fault is not None
    assert back.fault.reason == "other-timeline"


@given(st.lists(st.integers(min_value=1, max_value=6), max_size=30))
def test_delivery_is_a_prefix_without_gap_or_repeat_whatever_comes(order: list[int]) -> None:
    followed = follow(START, records([body(position) for position in order]), 1)
    delivered = [event.position for event in followed.events]
    assert delivered == list(range(1, len(delivered) + 1))
    if followed.fault is None:
        assert len(delivered) + followed.dropped == len(order)


@given(st.lists(st.integers(min_value=1, max_value=6), max_size=30), st.integers(0, 30))
def test_a_cut_anywhere_changes_nothing(order: list[int], cut: int) -> None:
    whole = follow(START, records([body(position) for position in order]), 1)
    run = records([body(position) for position in order])
    first = follow(START, run[:cut], 1)
    if first.fault is None:
        second = follow(first.end, run[cut:], 1)
        assert [*first.events, *second.events] == list(whole.events)
        assert second.end == whole.end
