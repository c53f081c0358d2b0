from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.registry.organisations import decider
from services.registry.organisations.commands import RegisterOrganisation, RenameOrganisation
from services.registry.organisations.decider import OrganisationAlreadyRegisteredError
from shared.commands.refusals import (
    NotFoundError,
    NotKnownAtError,
    NotYoursError,
    StaleVersionError,
)
from shared.contracts.events.organisations import (
    OrganisationKind,
    OrganisationRegistered,
    OrganisationRenamed,
)
from shared.eventstore.types import Claim
from tests.support.builders import CABINET, TEAM, TREASURY, emitter, event, organisation, team
from tests.support.clock import NOON
from tests.support.given import NEW_ID, given

TOMORROW = NOON + timedelta(days=1)


def a_department(**more: object) -> RegisterOrganisation:
    return RegisterOrganisation.model_validate({"name": "Home Office", "kind": "department"} | more)


def a_team(**more: object) -> RegisterOrganisation:
    return a_department(name="Platform Health", kind="team", parent="cabinet-office", **more)


def registered(**more: object) -> OrganisationRegistered:
    tree = {"name": "Home Office", "kind": "department", "slug": "home-office", "parent": None}
    return OrganisationRegistered.model_validate(tree | {"aliases": ()} | more)


def test_register_makes_an_organisation_with_a_slug_from_its_name() -> None:
    decision = given().when(decider.register, a_department()).then(registered())
    assert decision.subject == f"org_{NEW_ID}"
    assert decision.answer == {"slug": "home-office"}
    assert decision.events[0].claims == (Claim("organisation.slug", "home-office"),)
    assert decision.events[0].effective_at == NOON


def test_register_keeps_the_reason() -> None:
    command = a_department(reason="first mapping")
    given().when(decider.register, command).then(registered(reason="first mapping"))


def test_register_takes_the_slug_and_the_aliases_given_each_once() -> None:
    command = a_department(slug="ho", aliases=["hr:9", "crm:HO", "hr:9"])
    decision = (
        given()
        .when(decider.register, command, "crm:HO")
        .then(registered(slug="ho", aliases=("hr:9", "crm:HO")))
    )
    assert decision.events[0].claims == (
        Claim("organisation.slug", "ho"),
        Claim("organisation.alias", "hr:9"),
        Claim("organisation.alias", "crm:HO"),
    )


def test_the_subject_of_a_submission_becomes_an_alias() -> None:
    given().when(decider.register, a_department(), "hr:9").then(registered(aliases=("hr:9",)))


def test_a_slug_from_a_name_that_is_taken_is_numbered() -> None:
    log = given(
        organisation(CABINET, "home-office"),
        organisation(TREASURY, "home-office-2"),
    )
    log.when(decider.register, a_department()).then(registered(slug="home-office-3"))


def test_a_word_of_the_filters_becomes_nobody_s_slug() -> None:
    log = given()
    log.when(decider.register, a_department(name="None")).then(
        registered(name="None", slug="none-2")
    )
    with pytest.raises(ValidationError):
        a_department(slug="none")


def test_a_numbered_slug_is_a_slug_wherever_the_long_name_is_cut() -> None:
    name = "a" * 89 + " " + "b" * 20
    taken = organisation(CABINET, "a" * 89 + "-" + "b" * 10)
    given(taken).when(decider.register, a_department(name=name)).then(
        registered(name=name, slug="a" * 89 + "-2")
    )


def test_a_name_without_latin_letters_gets_a_slug_all_the_same() -> None:
    given().when(decider.register, a_department(name="Внутрешни")).then(
        registered(name="Внутрешни", slug="organisation")
    )


@pytest.mark.parametrize(
    ("command", "target", "pointer"),
    [
        (a_department(slug="cabinet-office"), None, "/slug"),
        (a_department(aliases=["new:1", "hr:1"]), None, "/aliases/1"),
        (a_department(), "hr:1", "/subject"),
    ],
)
def test_register_refuses_a_taken_name(
    command: RegisterOrganisation, target: str | None, pointer: str
) -> None:
    log = given(organisation(aliases=("hr:1",)))
    log.when(decider.register, command, target).then_refused(
        OrganisationAlreadyRegisteredError, pointer
    )


def test_a_slug_of_a_service_does_not_take_the_name_from_organisations() -> None:
    log = given()
    log.view.claims[Claim("service.slug", "home-office")] = "service-x"
    log.when(decider.register, a_department()).then(registered())


def test_register_refuses_a_parent_that_nobody_knows() -> None:
    given().when(decider.register, a_department(parent="nobody")).then_refused(
        NotFoundError, "/parent"
    )


def test_register_refuses_a_parent_that_begins_later() -> None:
    log = given(organisation(at=TOMORROW))
    log.when(decider.register, a_department(parent="cabinet-office")).then_refused(
        NotKnownAtError, "/parent"
    )
    log.when(decider.register, a_department(parent="cabinet-office"), effective_at=TOMORROW).then(
        registered(parent=CABINET)
    )


def test_an_emitter_registers_teams_of_its_own_organisation_only() -> None:
    log = given(organisation(), organisation(TREASURY, "treasury"))
    made = registered(name="Platform Health", kind="team", slug="platform-health", parent=CABINET)
    log.when(decider.register, a_team(), by=emitter(CABINET)).then(made)
    log.when(decider.register, a_team(), by=emitter(TREASURY)).then_refused(NotYoursError)


def test_an_emitter_registers_nothing_but_teams() -> None:
    log = given(organisation())
    child = a_department(parent="cabinet-office")
    log.when(decider.register, child, by=emitter(CABINET)).then_refused(NotYoursError)
    rootless = RegisterOrganisation(name="x", kind=OrganisationKind.TEAM)
    log.when(decider.register, rootless, by=emitter(CABINET)).then_refused(NotYoursError)


@pytest.mark.parametrize("reference", [CABINET, "cabinet-office", "hr:1"])
def test_rename_finds_the_organisation_by_id_slug_and_alias(reference: str) -> None:
    log = given(organisation(aliases=("hr:1",)))
    decision = log.when(decider.rename, RenameOrganisation(name="CO"), reference).then(
        OrganisationRenamed(name="CO")
    )
    assert decision.subject == CABINET


def test_rename_to_the_same_name_changes_nothing() -> None:
    log = given(organisation(name="Cabinet Office"))
    command = RenameOrganisation(name="Cabinet Office")
    assert log.when(decider.rename, command, CABINET).then_nothing().answer == {"version": 1}


def test_rename_is_compared_with_the_name_at_its_effective_time() -> None:
    log = given(organisation(name="Old"), event(OrganisationRenamed(name="New"), CABINET, NOON))
    before = NOON - timedelta(days=1)
    log.when(decider.rename, RenameOrganisation(name="Old"), CABINET).then(
        OrganisationRenamed(name="Old")
    )
    log.when(
        decider.rename, RenameOrganisation(name="Old"), CABINET, effective_at=before
    ).then_nothing()
    log.when(decider.rename, RenameOrganisation(name="New"), CABINET, effective_at=before).then(
        OrganisationRenamed(name="New")
    )


def test_rename_refuses_what_it_does_not_know_and_a_time_before_it_existed() -> None:
    command = RenameOrganisation(name="CO")
    given().when(decider.rename, command, CABINET).then_refused(NotFoundError, "/subject")
    given().when(decider.rename, command, "hr:1").then_refused(NotFoundError, "/subject")
    log = given(organisation(at=NOON))
    log.when(
        decider.rename, command, CABINET, effective_at=NOON - timedelta(seconds=1)
    ).then_refused(NotKnownAtError, "/subject")


def test_rename_refuses_an_etag_that_is_not_the_newest() -> None:
    log = given(organisation())
    command = RenameOrganisation(name="CO")
    log.when(decider.rename, command, CABINET, if_match=0).then_refused(StaleVersionError)
    log.when(decider.rename, command, CABINET, if_match=1).then(OrganisationRenamed(name="CO"))


def test_an_organisation_renames_itself_and_its_teams_and_nobody_else_does() -> None:
    log = given(organisation(), organisation(TREASURY, "treasury"), team())
    renamed, command = OrganisationRenamed(name="x"), RenameOrganisation(name="x")
    for target in (CABINET, TEAM):
        log.when(decider.rename, command, target, by=emitter(CABINET)).then(renamed)
        log.when(decider.rename, command, target, by=emitter(TREASURY)).then_refused(NotYoursError)
        log.when(decider.rename, command, target, by=emitter(TEAM)).then_refused(NotYoursError)
        log.when(decider.rename, command, target).then(renamed)


def test_a_team_that_begins_tomorrow_is_renamed_by_its_parent_today() -> None:
    later = organisation(TEAM, "later", kind=OrganisationKind.TEAM, parent=CABINET, at=TOMORROW)
    log = given(organisation(), later)
    command = RenameOrganisation(name="x")
    asked = log.when(decider.rename, command, TEAM, by=emitter(CABINET), effective_at=TOMORROW)
    asked.then(OrganisationRenamed(name="x"))
    log.when(
        decider.rename, command, TEAM, by=emitter(TREASURY), effective_at=TOMORROW
    ).then_refused(NotYoursError)


@pytest.mark.parametrize(
    "tree",
    [
        {"kind": "department"},
        {"name": "x"},
        {"name": "", "kind": "department"},
        {"name": " ", "kind": "department"},
        {"name": "x" * 201, "kind": "department"},
        {"name": "two\nlines", "kind": "department"},
        {"name": "\u202eevil", "kind": "department"},
        {"name": 7, "kind": "department"},
        {"name": "x", "kind": "ministry"},
        {"name": "x", "kind": "department", "slug": "Not A Slug"},
        {"name": "x", "kind": "department", "slug": "double--hyphen"},
        {"name": "x", "kind": "department", "aliases": ["no-colon"]},
        {"name": "x", "kind": "department", "aliases": ["contact:somebody"]},
        {"name": "x", "kind": "department", "aliases": ["crm:\u202etxt"]},
        {"name": "x", "kind": "department", "aliases": [f"crm:{n}" for n in range(21)]},
        {"name": "x", "kind": "department", "aliases": "crm:1"},
        {"name": "x", "kind": "department", "parent": "Not a reference"},
        {"name": "x", "kind": "department", "reason": ""},
        {"name": "x", "kind": "department", "organisation": CABINET},
        {"name": "x", "kind": "department", "actor": "me"},
        {"name": "x", "kind": "department", "version": 3},
        {"name": "x", "kind": "department", "recorded_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "kind": "department", "is_admin": True},
    ],
)
def test_a_malformed_registration_is_refused(tree: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RegisterOrganisation.model_validate(tree)
