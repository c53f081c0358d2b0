"""Which rows an event of any type becomes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.read_models.projection import CHANGES
from shared.contracts.envelope import Event, Origin
from shared.projections.feed import Checkpoint
from shared.projections.folding import fold

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ORG = [f"org_{number:032x}" for number in range(5)]
SERVICE = "svc_" + "0" * 32
DEPENDENCY = "dep_" + "0" * 32


def event(
    event_type: str, subject: str, data: Any, *, organisation: str | None = None, position: int = 1
) -> Event:
    origin = Origin("prn", "crd", organisation, "http", "correlation", "causation")
    return Event(
        "registry", position, 1, "evt", event_type, subject, 1, NOW, NOW, origin, data, b"{}"
    )


def rows(event_type: str, subject: str, data: Any, **more: Any) -> dict[str, list[tuple[Any, ...]]]:
    assert CHANGES.default is not None
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table, values in CHANGES.default(event(event_type, subject, data, **more), None):
        found.setdefault(table, []).append(values)
    return found


def touched(*arguments: Any, **more: Any) -> tuple[list[str], list[str]]:
    (change,) = rows(*arguments, **more)["changes"]
    return change[5], change[6]


def test_event_touches_the_organisations_that_it_names_and_the_one_that_acts() -> None:
    data = {"organisation": ORG[2], "from_organisation": ORG[1], "reason": ORG[4]}
    assert touched("estate.service.moved.v1", SERVICE, data, organisation=ORG[0]) == (
        [SERVICE],
        [ORG[0], ORG[1], ORG[2]],
    )


def test_role_touches_organisations_that_hold_it_but_no_contact() -> None:
    data = {"role": "owning-team", "holder": ORG[3], "previous_holder": "contact:somebody"}
    assert touched("estate.service.role_assigned.v1", SERVICE, data) == ([SERVICE], [ORG[3]])


def test_event_on_an_organisation_touches_it_and_its_parent() -> None:
    data = {"slug": "a", "aliases": ["s:1"], "parent": ORG[1]}
    assert touched("estate.organisation.registered.v1", ORG[0], data) == ([], [ORG[0], ORG[1]])
    found = rows("estate.organisation.registered.v1", ORG[0], data)["names"]
    assert [row[:3] for row in found] == [
        ("organisation", "a", ORG[0]),
        ("organisation", "s:1", ORG[0]),
    ]


def test_dependency_touches_its_ends_as_they_were_declared() -> None:
    data = {"from": "maps", "to": {"service": "source:1"}, "declarant": ORG[0], "alias": "x:1"}
    found = rows("estate.dependency.declared.v1", DEPENDENCY, data)
    assert found["changes"][0][5:7] == (["maps", "source:1"], [ORG[0]])
    assert [row[:2] for row in found["ends"]] == [(DEPENDENCY, "maps"), (DEPENDENCY, "source:1")]
    assert "names" not in found


def test_external_end_is_no_service() -> None:
    data = {"from": "maps", "to": {"external": "aws", "kind": "infrastructure"}}
    assert touched("estate.dependency.declared.v1", DEPENDENCY, data) == (["maps"], [])


def test_redacted_event_keeps_what_its_envelope_says() -> None:
    assert touched("estate.service.moved.v1", SERVICE, None, organisation=ORG[0]) == (
        [SERVICE],
        [ORG[0]],
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(ORG),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
members = st.sampled_from(
    ["from", "to", "organisation", "holder", "slug", "alias", "aliases", "successor", "parent"]
)


@given(
    st.sampled_from(
        ["estate.service.x.v1", "estate.dependency.y.v7", "estate.organisation.z.v1", "odd", ""]
    ),
    json_values | st.dictionaries(members, json_values),
)
def test_event_of_any_type_and_data_becomes_one_change(event_type: str, data: Any) -> None:
    found = rows(event_type, "anything", data)
    assert len(found["changes"]) == 1
    assert found["changes"][0][-1] == b"{}"
    for names in found["changes"][0][5:7]:
        assert names == sorted(set(names))


@pytest.mark.parametrize(
    "event_type", ["estate.service.painted.v1", "estate.service.registered.v9", "estate.thing.v1"]
)
async def test_unknown_types_and_versions_are_passed_on(event_type: str) -> None:
    folded = await fold(CHANGES, Checkpoint("registry"), [event(event_type, SERVICE, {"a": 1})])
    assert folded.stopped is None
    assert [row[3] for row in folded.rows["changes"]] == [event_type]
