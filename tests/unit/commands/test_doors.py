from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from services.dependencies.dependencies.routes import COMMANDS as DEPENDENCY_COMMANDS
from services.registry.organisations.routes import COMMANDS as ORGANISATION_COMMANDS
from services.registry.services.routes import COMMANDS as SERVICE_COMMANDS
from shared.auth.principals import Principal, Role
from shared.commands.command import CommandType
from shared.commands.doors import Doors, HttpCommand, kafka_principal
from shared.commands.refusals import NotFoundError, Refusal
from shared.commands.routes import command_routes
from shared.eventstore.types import PendingCommand
from shared.eventstore.writer import LogWriter
from shared.http.problems import Problem
from tests.support.builders import (
    CABINET,
    LICENCES,
    TREASURY,
    admin,
    emitter,
    organisation,
    service,
)
from tests.support.clock import NOON, HandClock
from tests.support.given import MemoryView
from tests.support.ids import CountedIds

ALL: tuple[CommandType[Any], ...] = (
    *ORGANISATION_COMMANDS,
    *SERVICE_COMMANDS,
    *DEPENDENCY_COMMANDS,
)
PHASE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "2026-01-31/1",
    "source": "crm",
    "type": "estate.service.change_phase.v1",
    "subject": "licence-finder",
    "time": "2026-01-31T09:00:00Z",
    "data": {"phase": "live", "reason": "assessed"},
}
REGISTRATION: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "crm",
    "type": "estate.service.register.v1",
    "data": {"name": "Licence Finder", "kind": "component"},
}


@pytest.fixture
def doors() -> Doors:
    return Doors(ALL, HandClock(), CountedIds())


def submit(
    doors: Doors, tree: Any, principal: Principal | None = None, door: str = "kafka", at: str = ""
) -> PendingCommand:
    return doors.from_submission(tree, principal or emitter(), door, "corr-1", at=at)


def refused(doors: Doors, tree: Any, at: str = "") -> Problem:
    with pytest.raises(Problem) as problem:
        submit(doors, tree, at=at)
    return problem.value


def an_estate() -> MemoryView:
    return MemoryView().add([organisation(), organisation(TREASURY, "treasury"), service()])


def test_a_submission_becomes_the_command_that_it_names(doors: Doors) -> None:
    command = submit(doors, PHASE)
    (event,) = command.decide(an_estate()).events
    assert event.subject == LICENCES
    assert event.data.TYPE == "estate.service.phase_changed.v1"
    assert event.effective_at == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert event.data.reason == "assessed"


def test_without_a_time_it_is_effective_now(doors: Doors) -> None:
    command = submit(doors, {k: v for k, v in PHASE.items() if k != "time"})
    assert command.decide(an_estate()).events[0].effective_at == NOON


def test_the_subject_of_a_registration_is_recorded_as_its_alias(doors: Doors) -> None:
    command = submit(doors, REGISTRATION | {"subject": "crm:77"})
    data: Any = command.decide(an_estate()).events[0].data
    assert data.aliases == ("crm:77",)


def test_who_and_by_what_is_the_credential_s_and_never_the_submission_s(doors: Doors) -> None:
    origin = submit(doors, PHASE, emitter(), "http").origin
    assert (origin.actor, origin.credential_id) == (emitter().id, "crd_emitter")
    assert (origin.organisation, origin.door) == (CABINET, "http")
    assert origin.causation_id == f"submission:{CABINET}:crm:2026-01-31/1"
    spoken = submit(doors, PHASE, kafka_principal(TREASURY)).origin
    assert (spoken.actor, spoken.credential_id) == (TREASURY, "kafka")
    assert (spoken.organisation, spoken.door) == (TREASURY, "kafka")


def test_the_key_is_the_same_through_both_doors_and_another_for_another_sender(
    doors: Doors,
) -> None:
    first = submit(doors, PHASE, emitter(), "http")
    second = submit(doors, PHASE, kafka_principal(CABINET), "kafka")
    assert (first.key, first.request_hash) == (second.key, second.request_hash)
    others = [
        submit(doors, PHASE, emitter(TREASURY)),
        submit(doors, PHASE | {"source": "hr"}),
        submit(doors, PHASE | {"id": "2"}),
    ]
    assert len({first.key, *(one.key for one in others)}) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"type": "estate.service.delist.v1", "data": {}},
        {"subject": LICENCES},
        {"time": "2026-01-31T09:00:01Z"},
        {"data": {"phase": "beta", "reason": "assessed"}},
        {"data": {"phase": "live"}},
        {"datacontenttype": "application/json"},
    ],
)
def test_another_request_under_the_same_key_has_another_hash(
    doors: Doors, other: dict[str, Any]
) -> None:
    first, second = submit(doors, PHASE), submit(doors, PHASE | other)
    assert first.key == second.key
    assert first.request_hash != second.request_hash


def test_the_correlation_id_is_the_submission_s_and_does_not_make_it_another_request(
    doors: Doors,
) -> None:
    plain = submit(doors, PHASE)
    traced = submit(doors, PHASE | {"correlationid": "trace-9"})
    assert (plain.origin.correlation_id, traced.origin.correlation_id) == ("corr-1", "trace-9")
    assert plain.request_hash == traced.request_hash


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1),
        ("specversion", None),
        ("id", ""),
        ("id", "x" * 201),
        ("id", "with space"),
        ("id", "é"),
        ("id", "line\n"),
        ("id", 7),
        ("source", ""),
        ("source", "CRM"),
        ("source", "a:b"),
        ("source", "x" * 65),
        ("source", None),
        ("type", 7),
        ("type", "x" * 101),
        ("subject", ""),
        ("subject", "x" * 266),
        ("subject", "Licence Finder"),
        ("subject", "crm:\u202e"),
        ("subject", "contact:jane"),
        ("subject", None),
        ("subject", 7),
        ("time", "2026-01-31"),
        ("time", "2026-01-31T09:00:00"),
        ("time", "2026-01-31T09:00:60Z"),
        ("time", "2026-01-31T09:00:00-00:00"),
        ("time", "0000-01-31T09:00:00Z"),
        ("time", "10000-01-31T09:00:00Z"),
        ("time", "2026-02-30T09:00:00Z"),
        ("time", "1700-01-01T00:00:00Z"),
        ("time", "2300-01-01T00:00:00Z"),
        ("time", 1_700_000_000),
        ("datacontenttype", "text/plain"),
        ("correlationid", "with space"),
        ("correlationid", "x" * 65),
        ("data", None),
        ("data", []),
        ("data", "x"),
        ("organisation", CABINET),
        ("actor", "me"),
        ("position", "7"),
        ("recordedtime", "2026-01-31T09:00:00Z"),
        ("dataschema", "https://example.org"),
    ],
)
def test_a_malformed_member_is_refused_where_it_stands(
    doors: Doors, member: str, value: object
) -> None:
    for at in ("", "/3"):
        problem = refused(doors, PHASE | {member: value}, at)
        assert problem.kind.slug == "invalid-request"
        assert [fault.pointer for fault in problem.errors] == [f"{at}/{member}"]


@pytest.mark.parametrize("member", ["specversion", "id", "source", "type", "data", "subject"])
def test_a_missing_member_is_named(doors: Doors, member: str) -> None:
    problem = refused(doors, {k: v for k, v in PHASE.items() if k != member})
    assert [fault.pointer for fault in problem.errors] == [f"/{member}"]


@pytest.mark.parametrize("tree", [None, [], "x", 7, True])
def test_what_is_no_object_is_refused(doors: Doors, tree: object) -> None:
    problem = refused(doors, tree)
    assert problem.kind.slug == "invalid-request"
    assert [fault.detail for fault in problem.errors] == ["must be an object"]


@pytest.mark.parametrize("subject", ["licence-finder", LICENCES, "contact:jane", "crm:\u200b"])
def test_a_registration_under_what_is_no_alias_is_refused(doors: Doors, subject: str) -> None:
    problem = refused(doors, REGISTRATION | {"subject": subject})
    assert [fault.pointer for fault in problem.errors] == ["/subject"]


def test_every_fault_of_the_data_is_named_at_once(doors: Doors) -> None:
    data = {"name": 7, "kind": "thing", "attributes": {"source": "crm", "set": {"a": 1.5}}, "z": 1}
    problem = refused(doors, REGISTRATION | {"data": data}, "/0")
    assert sorted(fault.pointer for fault in problem.errors) == [
        "/0/data/attributes/set/a",
        "/0/data/kind",
        "/0/data/name",
        "/0/data/z",
    ]


def test_a_fault_inside_a_choice_of_forms_points_into_what_was_sent(doors: Doors) -> None:
    tree = REGISTRATION | {
        "type": "estate.dependency.declare.v1",
        "data": {"from": "a", "to": {"service": "Not A Reference"}, "kind": "data"},
    }
    pointers = {fault.pointer for fault in refused(doors, tree).errors}
    assert "/data/to/service" in pointers
    assert not any("Reference" in pointer for pointer in pointers)


def test_a_refusal_of_form_never_repeats_what_was_sent(doors: Doors) -> None:
    canary = "Jane~Doe/secret"
    for tree in (
        PHASE | {"type": canary},
        PHASE | {"subject": canary},
        PHASE | {"data": {"phase": canary, "reason": 7}},
        REGISTRATION | {"data": {"name": "x", "kind": canary}},
    ):
        assert canary not in str(refused(doors, tree).document())
    problem = refused(doors, PHASE | {"data": {"phase": "live", "a/b~c\u202e" + "x" * 99: 1}})
    (fault,) = problem.errors
    assert fault.pointer.startswith("/data/a~1b~0c?xxx")
    assert len(fault.pointer) < 90


def test_an_unknown_type_is_told_apart_from_a_malformed_one(doors: Doors) -> None:
    for kind in ("estate.service.explode.v1", "estate.service.change_phase.v2", ""):
        assert refused(doors, PHASE | {"type": kind}).kind.slug == "unknown-command"


def test_a_submission_needs_a_credential_of_an_organisation_that_may_change_things(
    doors: Doors,
) -> None:
    auditor = Principal("p", "c", frozenset({Role.AUDITOR, Role.OPERATOR}), CABINET)
    for nobody in (admin(), auditor):
        with pytest.raises(Problem) as problem:
            submit(doors, PHASE, nobody)
        assert problem.value.kind.slug == "forbidden"


@pytest.mark.parametrize(
    ("tree", "pointer"),
    [
        (PHASE | {"time": "1990-01-01T00:00:00Z"}, "/7/time"),
        (
            PHASE | {"type": "estate.service.move.v1", "data": {"organisation": "nobody"}},
            "/7/data/organisation",
        ),
        (
            PHASE
            | {"type": "estate.organisation.rename.v1", "subject": "no", "data": {"name": "x"}},
            "/7/subject",
        ),
        (PHASE | {"subject": "nobody"}, None),
    ],
)
def test_a_rule_points_at_the_member_of_the_submission(
    doors: Doors, tree: dict[str, Any], pointer: str | None
) -> None:
    command = submit(doors, tree, at="/7")
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            command.decide(an_estate())
        assert refusal.value.pointer == pointer


def over_http(
    doors: Doors,
    *,
    name: str = "estate.service.change_phase.v1",
    tree: Mapping[str, Any] | None = None,
    principal: Principal | None = None,
    **more: Any,
) -> PendingCommand:
    command = doors.commands[name]
    sent = tree if tree is not None else {"phase": "live"}
    arrived: dict[str, Any] = {
        "body": command.body.model_validate(sent),
        "tree": sent,
        "target": "licence-finder",
        "effective_from": None,
        "idempotency_key": "k",
        "if_match": None,
        "correlation_id": "corr-1",
        "dry_run": False,
    }
    return doors.from_http(command, principal or emitter(), HttpCommand(**(arrived | more)))


def test_an_http_key_is_scoped_to_principal_and_route_and_not_to_the_credential(
    doors: Doors,
) -> None:
    first = over_http(doors)
    assert over_http(doors).key == first.key
    rolled = Principal(emitter().id, "crd_new", emitter().roles, CABINET)
    assert over_http(doors, principal=rolled).key == first.key
    assert over_http(doors, principal=emitter(TREASURY)).key != first.key
    assert over_http(doors, name="estate.service.delist.v1", tree={}).key != first.key
    assert over_http(doors, idempotency_key="k2").key != first.key


def test_an_http_key_never_meets_a_submission_s(doors: Doors) -> None:
    assert over_http(doors, idempotency_key=f"submission:{CABINET}:crm:1").key.startswith("http:")


def test_without_a_key_every_http_command_is_a_new_one(doors: Doors) -> None:
    first, second = (over_http(doors, idempotency_key=None) for _ in range(2))
    assert first.key != second.key


@pytest.mark.parametrize(
    "other", [{"tree": {"phase": "beta"}}, {"target": LICENCES}, {"if_match": 3}]
)
def test_another_http_request_under_the_same_key_has_another_hash(
    doors: Doors, other: dict[str, Any]
) -> None:
    first, second = over_http(doors), over_http(doors, **other)
    assert first.key == second.key
    assert first.request_hash != second.request_hash


def test_an_http_command_says_who_when_and_for_which_request(doors: Doors) -> None:
    then = datetime(2026, 2, 1, tzinfo=UTC)
    command = over_http(doors, effective_from=then, dry_run=True)
    assert command.dry_run
    (event,) = command.decide(an_estate()).events
    assert event.effective_at == then
    assert command.origin.door == "http"
    assert command.origin.causation_id == command.key
    assert command.origin.correlation_id == "corr-1"


def test_a_rule_points_at_the_member_of_an_http_body(doors: Doors) -> None:
    command = over_http(doors, name="estate.service.move.v1", tree={"organisation": "nobody"})
    with pytest.raises(NotFoundError) as refusal:
        command.decide(an_estate())
    assert refusal.value.pointer == "/organisation"


def test_a_command_without_required_members_needs_no_body(doors: Doors) -> None:
    routes = command_routes(doors, cast("LogWriter", None))
    free = {route.operation_id for route in routes if not route.body_required}
    assert free == {
        *("service_retire", "service_delist", "service_reinstate", "service_change_details"),
        *("dependency_change", "dependency_withdraw"),
    }
