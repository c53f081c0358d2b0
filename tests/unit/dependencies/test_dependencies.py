from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.dependencies.dependencies import decider
from services.dependencies.dependencies.commands import (
    ChangeDependency,
    DeclareDependency,
    WithdrawDependency,
)
from services.dependencies.dependencies.decider import (
    DEPENDENCY,
    DependencyAlreadyDeclaredError,
    DependencyDiffersError,
    DependencyKindDiffersError,
    ends_claim,
)
from services.dependencies.dependencies.routes import COMMANDS
from shared.commands.refusals import (
    NotFoundError,
    NotKnownAtError,
    NotYoursError,
    StaleVersionError,
)
from shared.contracts.events.dependencies import (
    EVENTS,
    Criticality,
    DependencyChanged,
    DependencyDeclared,
    DependencyKind,
    DependencyWithdrawn,
)
from shared.contracts.facts.dependencies import dependency_facts
from shared.eventstore.types import Claim, Fact
from tests.support.builders import CABINET, LINK, LONG_AGO, TREASURY, dependency, emitter, event
from tests.support.clock import NOON
from tests.support.given import NEW_ID, given
from tests.support.samples import DATA_SAMPLES

ALIAS = "docker:licence-finder/publishing"
YESTERDAY = NOON - timedelta(days=1)
TOMORROW = NOON + timedelta(days=1)
KEPT = {"licence-finder": CABINET}


def a_link(**more: object) -> DeclareDependency:
    tree = {"from": "licence-finder", "to": {"service": "publishing"}, "kind": "uses-api"} | more
    return DeclareDependency.model_validate(tree)


def declared(**more: object) -> DependencyDeclared:
    tree = {
        "from": "licence-finder",
        "to": {"service": "publishing"},
        "kind": "uses-api",
        "criticality": None,
        "alias": None,
        "declarant": None,
    } | more
    return DependencyDeclared.model_validate(tree)


def withdrawn(at: Any = YESTERDAY) -> Any:
    return event(DependencyWithdrawn(), LINK, at)


def test_declare_makes_a_dependency_whose_ends_nobody_needs_to_know() -> None:
    decision = (
        given()
        .when(decider.declare, a_link(criticality="high", reason="seen"))
        .then(declared(criticality="high", reason="seen"))
    )
    assert decision.subject == f"dep_{NEW_ID}"
    (claim,) = decision.events[0].claims
    assert claim.kind == "dependency.ends"


def test_declare_under_an_alias_takes_that_name() -> None:
    decision = given().when(decider.declare, a_link(), ALIAS).then(declared(alias=ALIAS))
    alias, ends = decision.events[0].claims
    assert alias == Claim("dependency.alias", ALIAS)
    assert ends.kind == "dependency.ends"


def test_declare_on_something_outside_the_estate() -> None:
    outside = {"external": "Companies House", "kind": "supplier"}
    given().when(decider.declare, a_link(to=outside)).then(declared(to=outside))


def test_declared_again_by_the_same_ends_and_kind_nothing_changes() -> None:
    first = given().when(decider.declare, a_link()).decide()
    log = given(*first.events)
    assert log.when(decider.declare, a_link()).then_nothing().subject == first.subject
    for other in (
        a_link(kind="data"),
        a_link(to={"service": "whitehall"}),
        a_link(**{"from": "whitehall"}),
        a_link(to={"external": "publishing", "kind": "other"}),
    ):
        assert log.when(decider.declare, other).decide().events[0].claims


def the_ends(kind: DependencyKind) -> Claim:
    return ends_claim("licence-finder", {"service": "publishing"}, kind)


def test_a_dependency_of_another_kind_is_found_by_that_kind_and_not_made_twice() -> None:
    log = given(dependency(alias=None))
    command = ChangeDependency(kind=DependencyKind.DATA)
    changed = log.when(decider.change, command, LINK, effective_at=YESTERDAY).decide()
    assert changed.events[0].claims == (the_ends(DependencyKind.DATA),)
    log.view.add(changed.events)
    assert log.when(decider.declare, a_link(kind="data")).then_nothing().subject == LINK
    log.when(decider.declare, a_link()).then_refused(DependencyKindDiffersError, "/kind")
    before = YESTERDAY - timedelta(days=1)
    log.when(decider.declare, a_link(), effective_at=before).then_nothing()
    log.when(decider.declare, a_link(kind="data"), effective_at=before).then_refused(
        DependencyKindDiffersError, "/kind"
    )
    further = log.when(decider.declare, a_link(), ALIAS).decide()
    assert further.events[0].claims == (Claim("dependency.alias", ALIAS),)
    back = ChangeDependency(kind=DependencyKind.USES_API)
    assert not log.when(decider.change, back, LINK).decide().events[0].claims


def test_the_kind_of_another_dependency_between_the_same_ends_is_not_taken() -> None:
    other = dependency("dep_" + "e" * 32, alias=None, kind="data")
    log = given(dependency(), other)
    command = ChangeDependency(kind=DependencyKind.DATA)
    log.when(decider.change, command, LINK).then_refused(DependencyAlreadyDeclaredError, "/kind")
    log.when(decider.declare, a_link(kind="data"), ALIAS).then_refused(
        DependencyAlreadyDeclaredError, "/kind"
    )


def test_declared_with_another_kind_under_its_alias_it_takes_that_kind() -> None:
    log = given(dependency())
    again = log.when(decider.declare, a_link(kind="data"), ALIAS).decide()
    assert (again.subject, again.events[0].claims) == (LINK, (the_ends(DependencyKind.DATA),))


def test_declared_without_its_alias_or_under_a_further_one_it_is_the_same_dependency() -> None:
    log = given(dependency())
    assert log.when(decider.declare, a_link()).then_nothing().subject == LINK
    second = "estate-map:17"
    named = log.when(decider.declare, a_link(), second).decide()
    assert (named.subject, named.events[0].claims) == (LINK, (Claim("dependency.alias", second),))
    log.view.add(named.events)
    for alias in (ALIAS, second):
        assert log.when(decider.declare, a_link(), alias).then_nothing().subject == LINK
    lowered = log.when(decider.declare, a_link(criticality="low")).decide()
    assert dict(dependency_facts(lowered.events[0].data))["alias"] == second  # type: ignore[arg-type]


def test_declared_again_under_its_alias_nothing_changes() -> None:
    log = given(dependency())
    assert log.when(decider.declare, a_link(), ALIAS).then_nothing().subject == LINK


@pytest.mark.parametrize("other", [{"to": {"service": "whitehall"}}, {"from": "whitehall"}])
@pytest.mark.parametrize("at", [LONG_AGO, TOMORROW])
def test_an_alias_names_one_pair_of_ends_for_ever(other: dict[str, object], at: Any) -> None:
    log = given(dependency(at=at))
    log.when(decider.declare, a_link(**other), ALIAS).then_refused(
        DependencyDiffersError, "/subject"
    )
    log = given(dependency(at=at), withdrawn(TOMORROW))
    log.when(decider.declare, a_link(**other), ALIAS).then_refused(
        DependencyDiffersError, "/subject"
    )


def test_declared_with_other_criticality_it_is_declared_anew_under_its_id() -> None:
    log = given(dependency())
    decision = log.when(decider.declare, a_link(criticality="low"), ALIAS, by=emitter()).then(
        declared(criticality="low", alias=ALIAS, declarant=CABINET)
    )
    assert decision.subject == LINK
    assert not decision.events[0].claims


def test_declared_again_after_it_was_withdrawn_it_keeps_its_id() -> None:
    log = given(dependency(), withdrawn())
    decision = log.when(decider.declare, a_link(), ALIAS).then(
        declared(alias=ALIAS, declarant=CABINET)
    )
    assert decision.subject == LINK
    before = YESTERDAY - timedelta(days=1)
    log.when(decider.declare, a_link(), ALIAS, effective_at=before).then_nothing()


def test_an_administrator_who_declares_it_again_does_not_take_it_from_its_declarant() -> None:
    log = given(dependency(), withdrawn())
    again = log.when(decider.declare, a_link(), ALIAS).decide()
    log.view.add(again.events)
    command = ChangeDependency(kind=DependencyKind.DATA)
    log.when(decider.change, command, LINK, by=emitter(CABINET)).then(
        DependencyChanged(kind=DependencyKind.DATA)
    )


def test_only_the_keeper_of_the_dependent_declares_it_once_the_registry_knows_it() -> None:
    log = given(answers=KEPT)
    log.when(decider.declare, a_link(), by=emitter(CABINET)).then(declared(declarant=CABINET))
    log.when(decider.declare, a_link(), by=emitter(TREASURY)).then_refused(NotYoursError)
    log.when(decider.declare, a_link()).then(declared())


def test_while_the_dependent_is_unknown_anybody_declares_and_then_keeps_it() -> None:
    given().when(decider.declare, a_link(), by=emitter(TREASURY)).then(declared(declarant=TREASURY))
    log = given(dependency(declarant=TREASURY))
    withdraw = WithdrawDependency()
    log.when(decider.withdraw, withdraw, LINK, by=emitter(TREASURY)).then(DependencyWithdrawn())
    log.when(decider.withdraw, withdraw, LINK, by=emitter(CABINET)).then_refused(NotYoursError)
    log.when(decider.declare, a_link(), ALIAS, by=emitter(CABINET)).then_refused(NotYoursError)


def test_once_the_dependent_is_known_its_keeper_takes_over_from_the_declarant() -> None:
    log = given(dependency(declarant=TREASURY), answers=KEPT)
    withdraw = WithdrawDependency()
    log.when(decider.withdraw, withdraw, LINK, by=emitter(CABINET)).then(DependencyWithdrawn())
    log.when(decider.withdraw, withdraw, LINK, by=emitter(TREASURY)).then_refused(NotYoursError)


EVERY_CHANGE = [
    (decider.change, ChangeDependency(kind=DependencyKind.DATA)),
    (decider.withdraw, WithdrawDependency()),
]


@pytest.mark.parametrize(("decide", "command"), EVERY_CHANGE)
def test_every_change_has_the_same_rules_for_its_target(decide: Any, command: Any) -> None:
    log = given(dependency())
    for nobody in (None, "dep_" + "f" * 32, "docker:other", "licence-finder", CABINET):
        log.when(decide, command, nobody).then_refused(NotFoundError)
    for target in (LINK, ALIAS):
        assert log.when(decide, command, target).decide().subject == LINK
    log.when(decide, command, LINK, if_match=2).then_refused(StaleVersionError)
    assert log.when(decide, command, LINK, if_match=1).decide().events
    before = LONG_AGO - timedelta(microseconds=1)
    log.when(decide, command, LINK, effective_at=before).then_refused(
        NotKnownAtError, "/effective_from"
    )


def test_what_was_withdrawn_is_not_changed() -> None:
    log = given(dependency(), withdrawn())
    command = ChangeDependency(criticality=Criticality.HIGH)
    log.when(decider.change, command, LINK).then_refused(NotKnownAtError, "/effective_from")
    before = YESTERDAY - timedelta(days=1)
    assert log.when(decider.change, command, LINK, effective_at=before).decide().events


def test_change_logs_only_what_changes() -> None:
    log = given(dependency(criticality="low"))
    command = ChangeDependency(kind=DependencyKind.USES_API, criticality=Criticality.HIGH)
    log.when(decider.change, command, LINK).then(DependencyChanged(criticality=Criticality.HIGH))
    same = ChangeDependency(kind=DependencyKind.USES_API, criticality=Criticality.LOW)
    log.when(decider.change, same, LINK).then_nothing()


def test_change_takes_a_criticality_away_with_null() -> None:
    command = ChangeDependency.model_validate({"criticality": None})
    given(dependency(criticality="low")).when(decider.change, command, LINK).then(
        DependencyChanged(criticality=None)
    )
    given(dependency()).when(decider.change, command, LINK).then_nothing()


def test_withdrawn_already_nothing_changes() -> None:
    log = given(dependency(), withdrawn())
    log.when(decider.withdraw, WithdrawDependency(), LINK).then_nothing()
    log.when(
        decider.withdraw, WithdrawDependency(), LINK, effective_at=YESTERDAY - timedelta(days=1)
    ).then(DependencyWithdrawn())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_bodies_take_their_example_and_nothing_unnamed(command: Any) -> None:
    command.body.model_validate(dict(command.example))
    for member in ("department", "actor", "version", "declarant", "alias"):
        with pytest.raises(ValidationError):
            command.body.model_validate({**command.example, member: "x"})


@pytest.mark.parametrize(
    "more",
    [
        {"from": None},
        {"from": "Licence Finder"},
        {"from": "docker:\u202e"},
        {"from": "contact:jane"},
        {"to": "publishing"},
        {"to": {}},
        {"to": {"service": "Not A Reference"}},
        {"to": {"external": "Companies House"}},
        {"to": {"external": "", "kind": "other"}},
        {"to": {"external": "a\nb", "kind": "other"}},
        {"to": {"external": "x", "kind": "cloud"}},
        {"to": {"service": "x", "external": "x", "kind": "other"}},
        {"kind": "likes"},
        {"kind": None},
        {"criticality": "very"},
        {"criticality": 3},
    ],
)
def test_a_malformed_declaration_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        a_link(**more)


@pytest.mark.parametrize("tree", [{}, {"reason": "just so"}, {"kind": "likes"}, {"from": "x"}])
def test_a_malformed_change_is_refused(tree: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChangeDependency.model_validate(tree)


def test_evolve_is_total_over_every_event_of_a_dependency() -> None:
    state = DEPENDENCY.initial
    models: tuple[Any, ...] = EVENTS
    for position, model in enumerate(models, 1):
        data = model.model_validate(DATA_SAMPLES[model.TYPE])
        state = DEPENDENCY.evolve(state, Fact(position, NOON, data))
        for attribute, value in dict(dependency_facts(data)).items():
            assert state.at(attribute, NOON) == value
    assert DEPENDENCY.evolve(state, Fact(9, NOON, None)) == state
