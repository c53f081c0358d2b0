from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.envelope import Event, Origin
from shared.contracts.events.model import EventData
from shared.contracts.events.services import ServiceDetailsChanged, ServiceVisibilitySet
from shared.projections.facts import RETRACTIONS, state_facts
from shared.projections.feed import Checkpoint
from shared.projections.folding import fold
from shared.projections.projection import Projection, Row

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = Checkpoint("registry")


def event(position: int, data: dict[str, Any] | None = None, **changes: Any) -> Event:
    made = Event(
        log="registry",
        position=position,
        timeline=1,
        id=f"evt_{position}",
        type=ServiceDetailsChanged.TYPE,
        subject="svc_1",
        stream_version=position,
        effective_at=NOW,
        recorded_at=NOW + timedelta(seconds=position),
        origin=Origin("prn_1", "crd_1", None, "http", "c", "k"),
        data={"name": f"Name {position}"} if data is None else data,
        body=b"",
    )
    return replace(made, **changes)


def _names(event: Event, data: EventData | None) -> Iterator[Row]:
    match data:
        case ServiceDetailsChanged(name="poison"):
            yield Row("names", ("half", event.position))
            raise ZeroDivisionError
        case ServiceDetailsChanged(name=name):
            yield Row("names", (name, event.position))
        case None:
            yield Row("names", ("redacted", event.position))


def _visibility(event: Event, data: EventData | None) -> Iterator[Row]:
    assert isinstance(data, ServiceVisibilitySet)
    yield Row("names", (data.visibility, event.position))


NAMES = Projection(
    "names",
    1,
    ("registry",),
    {ServiceDetailsChanged.TYPE: _names, ServiceVisibilitySet.TYPE: _visibility},
)


async def test_events_become_rows_in_order() -> None:
    folded = await fold(NAMES, START, [event(1), event(2)])
    assert folded.rows == {"names": [("Name 1", 1), ("Name 2", 2)]}
    assert (folded.events, folded.dropped, folded.stopped) == (2, 0, None)


async def test_repeats_are_dropped_and_counted() -> None:
    before = Checkpoint("registry", position=1, digest=b"d")
    folded = await fold(NAMES, before, [event(1), event(2), event(2), event(3)])
    assert [values[1] for values in folded.rows["names"]] == [2, 3]
    assert folded.dropped == 2


async def test_types_not_handled_only_advance() -> None:
    of_nobody = event(1, type="estate.moon.landed.v1")
    of_others = event(2, type="estate.service.phase_changed.v7")
    folded = await fold(NAMES, START, [of_nobody, of_others, event(3)])
    assert folded.events == 3
    assert folded.rows == {"names": [("Name 3", 3)]}


async def test_older_versions_are_read_as_todays() -> None:
    flagged = event(1, {"public": True}, type="estate.service.visibility_set.v1")
    folded = await fold(NAMES, START, [flagged])
    assert folded.rows == {"names": [("public", 1)]}


async def test_redacted_events_reach_their_handler_without_data() -> None:
    folded = await fold(NAMES, START, [replace(event(1), data=None)])
    assert folded.rows == {"names": [("redacted", 1)]}


@pytest.mark.parametrize(
    ("at_fault", "reason", "position"),
    [
        (event(4), "gap", 3),
        (event(3, timeline=1), "other-timeline", 3),
        (event(3, {"name": "poison"}, timeline=2), "handler-failed", 3),
        (event(3, {"name": 7}, timeline=2), "invalid-data", 3),
        (event(3, type="estate.service.details_changed.v2", timeline=2), "unknown-version", 3),
    ],
)
async def test_fold_ends_at_what_cannot_be_applied(
    at_fault: Event, reason: str, position: int
) -> None:
    before = Checkpoint("registry", position=1, digest=b"d")
    folded = await fold(NAMES, before, [event(2, timeline=2), at_fault, event(5)])
    assert folded.stopped is not None
    assert (folded.stopped.reason, folded.stopped.position) == (reason, position)
    assert folded.rows == {"names": [("Name 2", 2)]}
    assert folded.events == 1


def test_events_correct_only_what_came_before_them() -> None:
    data = ServiceDetailsChanged(name="Right", corrects=(2, 3, 9))
    rows = list(state_facts(event(3), data, "svc_1", {"name": "Right"}))
    assert [row.values[:3] for row in rows if row.table == RETRACTIONS.name] == [("registry", 2, 3)]
    assert rows[0].values[:3] == ("svc_1", "name", '"Right"')


def test_projection_needs_a_plain_name() -> None:
    with pytest.raises(ValueError, match="plain identifier"):
        Projection('x"; DROP SCHEMA log; --', 1, ("registry",), {})
