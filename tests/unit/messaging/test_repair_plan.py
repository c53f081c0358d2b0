from dataclasses import replace

import pytest

from shared.messaging.repair import Act, LogState, RepairRefusedError, plan

PUBLISHED = LogState(position=9, timeline=1, publication=1, halted=None, published=9, highest=1)
HALTED = replace(PUBLISHED, halted="relay: the topic ends at 9, the log at 7")


def test_a_new_publication_takes_the_next_number() -> None:
    assert plan(Act.NEW_PUBLICATION, PUBLISHED) == (1, 2)


def test_a_new_timeline_takes_the_number_of_its_publication() -> None:
    assert plan(Act.NEW_TIMELINE, HALTED) == (2, 2)
    assert plan(Act.NEW_TIMELINE, replace(HALTED, publication=3)) == (4, 4)


def test_no_number_is_taken_that_was_met_on_kafka() -> None:
    assert plan(Act.NEW_PUBLICATION, replace(PUBLISHED, highest=5)) == (1, 6)
    assert plan(Act.NEW_TIMELINE, replace(HALTED, highest=5)) == (6, 6)


def test_a_lifted_halt_changes_no_number() -> None:
    assert plan(Act.LIFT_HALT, replace(HALTED, timeline=2, publication=4)) == (2, 4)


@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        (Act.LIFT_HALT, PUBLISHED, "not halted"),
        (Act.NEW_TIMELINE, PUBLISHED, "not halted"),
        (Act.NEW_PUBLICATION, HALTED, "ends at 9, the log at 7"),
        (Act.NEW_PUBLICATION, replace(PUBLISHED, published=0), "relay fills it"),
    ],
)
def test_what_the_state_does_not_call_for_is_refused(act: Act, state: LogState, said: str) -> None:
    with pytest.raises(RepairRefusedError, match=said):
        plan(act, state)
