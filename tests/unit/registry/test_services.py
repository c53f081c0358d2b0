from datetime import timedelta
from typing import Any

import pytest

from services.registry.services import commands, decider
from services.registry.services.commands import (
    AddAlias,
    ChangeDetails,
    ChangePhase,
    DelistService,
    MoveService,
    RegisterService,
    ReinstateService,
    RetireService,
    SetVisibility,
)
from services.registry.services.decider import (
    ServiceAlreadyRegisteredError,
    ServiceAlreadyRetiredError,
    TeamKeepsNoServiceError,
)
from shared.commands.refusals import (
    NotFoundError,
    NotKnownAtError,
    NotYoursError,
    StaleVersionError,
)
from shared.contracts.events.services import (
    Phase,
    ServiceAliasAdded,
    ServiceDelisted,
    ServiceDetailsChanged,
    ServiceKind,
    ServiceMoved,
    ServicePhaseChanged,
    ServiceRegistered,
    ServiceReinstated,
    ServiceRetired,
    ServiceVisibilitySet,
    SourceAttributes,
    Visibility,
)
from shared.eventstore.types import Claim
from tests.support.builders import (
    CABINET,
    LICENCES,
    LONG_AGO,
    PUBLISHING,
    TEAM,
    TREASURY,
    emitter,
    event,
    organisation,
    service,
    team,
)
from tests.support.clock import NOON
from tests.support.given import NEW_ID, Given, given

DAY = timedelta(days=1)
YESTERDAY = NOON - DAY
TOMORROW = NOON + DAY


def a_service(**more: object) -> RegisterService:
    tree = {"name": "Licence Finder", "kind": "component"} | more
    return RegisterService.model_validate(tree)


def registered(**more: object) -> ServiceRegistered:
    tree: dict[str, Any] = {
        "name": "Licence Finder",
        "kind": "component",
        "slug": "licence-finder",
        "organisation": None,
        "registrant": None,
        "phase": None,
        "visibility": "internal",
        "description": None,
        "aliases": (),
        "attributes": None,
    }
    return ServiceRegistered.model_validate(tree | more)


def estate(*more: Any) -> Given:
    return given(organisation(), organisation(TREASURY, "treasury"), service(), *more)


def test_register_makes_a_service_with_a_slug_from_its_name() -> None:
    decision = given().when(decider.register, a_service()).then(registered())
    assert decision.subject == f"svc_{NEW_ID}"
    assert decision.answer == {"slug": "licence-finder"}
    assert decision.events[0].claims == (Claim("service.slug", "licence-finder"),)


def test_register_logs_everything_that_was_given() -> None:
    command = a_service(
        slug="lf",
        organisation="cabinet-office",
        phase="live",
        visibility="public",
        description="Finds licences",
        aliases=["crm:1"],
        attributes={"source": "crm", "set": {"a": [1, {"b": None}]}},
        reason="first mapping",
    )
    made = registered(
        slug="lf",
        organisation=CABINET,
        phase="live",
        visibility="public",
        description="Finds licences",
        aliases=("crm:1", "hr:2"),
        attributes={"source": "crm", "set": {"a": [1, {"b": None}]}, "unset": ()},
        reason="first mapping",
    )
    decision = given(organisation()).when(decider.register, command, "hr:2").then(made)
    assert [claim.value for claim in decision.events[0].claims] == ["lf", "crm:1", "hr:2"]


def test_an_emitter_registers_for_its_own_organisation_unless_it_says_so_too() -> None:
    log = given(organisation(), organisation(TREASURY, "treasury"))
    made = registered(organisation=CABINET, registrant=CABINET)
    log.when(decider.register, a_service(), by=emitter()).then(made)
    mine = a_service(organisation="cabinet-office")
    log.when(decider.register, mine, by=emitter()).then(made)
    theirs = a_service(organisation="treasury")
    log.when(decider.register, theirs, by=emitter()).then_refused(NotYoursError)
    log.when(decider.register, theirs).then(registered(organisation=TREASURY))


def test_register_refuses_an_organisation_that_nobody_knows_or_that_begins_later() -> None:
    command = a_service(organisation="cabinet-office")
    given().when(decider.register, command).then_refused(NotFoundError, "/organisation")
    given(organisation(at=TOMORROW)).when(decider.register, command).then_refused(
        NotKnownAtError, "/organisation"
    )


@pytest.mark.parametrize(
    ("more", "target", "pointer"),
    [
        ({"slug": "licence-finder"}, None, "/slug"),
        ({"aliases": ["new:1", "crm:1"]}, None, "/aliases/1"),
        ({}, "crm:1", "/subject"),
    ],
)
def test_register_refuses_a_taken_name(
    more: dict[str, object], target: str | None, pointer: str
) -> None:
    log = given(service(aliases=("crm:1",)))
    log.when(decider.register, a_service(**more), target).then_refused(
        ServiceAlreadyRegisteredError, pointer
    )


def test_a_slug_from_a_name_that_is_taken_is_numbered() -> None:
    slugs = ["licence-finder", *(f"licence-finder-{n}" for n in range(2, 30))]
    taken = [service(f"svc_{n:032x}", slug) for n, slug in enumerate(slugs)]
    decision = given(*taken).when(decider.register, a_service()).decide()
    assert decision.answer == {"slug": "licence-finder-30"}


@pytest.mark.parametrize("reference", [LICENCES, "licence-finder", "crm:1"])
def test_a_service_is_found_by_id_slug_and_alias(reference: str) -> None:
    log = given(service(aliases=("crm:1",)))
    command = ChangePhase(phase=Phase.BETA)
    decision = log.when(decider.change_phase, command, reference).then(
        ServicePhaseChanged(phase=Phase.BETA)
    )
    assert decision.subject == LICENCES


EVERY_CHANGE = [
    (decider.change_details, ChangeDetails(name="x")),
    (decider.move, MoveService(organisation="treasury")),
    (decider.change_phase, ChangePhase(phase=Phase.BETA)),
    (decider.delist, DelistService()),
    (decider.reinstate, ReinstateService()),
    (decider.retire, RetireService()),
    (decider.add_alias, AddAlias(alias="crm:9")),
    (decider.set_visibility, SetVisibility(visibility=Visibility.PUBLIC)),
    (
        decider.assign_role,
        commands.AssignRole.model_validate(
            {"role": "owning-team", "holder": "treasury", "previous_holder": None}
        ),
    ),
    (
        decider.vacate_role,
        commands.VacateRole.model_validate({"role": "owning-team", "holder": "treasury"}),
    ),
]


@pytest.mark.parametrize(("decide", "command"), EVERY_CHANGE)
def test_every_change_has_the_same_rules_for_its_target(decide: Any, command: Any) -> None:
    log = estate()
    log.when(decide, command, "nobody").then_refused(NotFoundError)
    log.when(decide, command, CABINET).then_refused(NotFoundError)
    log.when(decide, command).then_refused(NotFoundError)
    log.when(decide, command, LICENCES, if_match=7).then_refused(StaleVersionError)
    log.when(decide, command, LICENCES, by=emitter(TREASURY)).then_refused(NotYoursError)
    nobodys = emitter()
    nobodys = type(nobodys)(nobodys.id, nobodys.credential_id, nobodys.roles, None)
    log.when(decide, command, LICENCES, by=nobodys).then_refused(NotYoursError)
    before = LONG_AGO - timedelta(microseconds=1)
    log.when(decide, command, LICENCES, effective_at=before).then_refused(
        NotKnownAtError, "/effective_from"
    )
    for by in (None, emitter(CABINET)):
        assert log.when(decide, command, LICENCES, by=by, if_match=1).decide().subject == LICENCES


def test_while_a_service_has_no_organisation_its_registrant_keeps_it() -> None:
    log = given(organisation(), service(organisation=None, registrant=TREASURY))
    command = ChangePhase(phase=Phase.BETA)
    made = ServicePhaseChanged(phase=Phase.BETA)
    log.when(decider.change_phase, command, LICENCES, by=emitter(TREASURY)).then(made)
    log.when(decider.change_phase, command, LICENCES, by=emitter()).then_refused(NotYoursError)


def test_authority_follows_the_organisation_of_now_whatever_the_effective_time() -> None:
    moved = ServiceMoved(organisation=TREASURY, from_organisation=CABINET)
    log = estate(event(moved, at=YESTERDAY))
    command, made = ChangePhase(phase=Phase.BETA), ServicePhaseChanged(phase=Phase.BETA)
    long_before = LONG_AGO + timedelta(days=1)
    for effective_at in (long_before, NOON, TOMORROW):
        log.when(
            decider.change_phase, command, LICENCES, by=emitter(TREASURY), effective_at=effective_at
        ).then(made)
        log.when(
            decider.change_phase, command, LICENCES, by=emitter(CABINET), effective_at=effective_at
        ).then_refused(NotYoursError)


def test_a_service_that_moves_tomorrow_is_still_kept_by_its_organisation_today() -> None:
    log = estate(event(ServiceMoved(organisation=TREASURY), at=TOMORROW))
    command = ChangePhase(phase=Phase.BETA)
    log.when(decider.change_phase, command, LICENCES, by=emitter(CABINET)).then(
        ServicePhaseChanged(phase=Phase.BETA)
    )
    log.when(decider.change_phase, command, LICENCES, by=emitter(TREASURY)).then_refused(
        NotYoursError
    )


def test_who_registers_a_service_ahead_of_its_beginning_may_change_it_at_once() -> None:
    log = given(organisation(), service(registrant=CABINET, at=TOMORROW))
    command = ChangePhase(phase=Phase.BETA)
    asked = log.when(decider.change_phase, command, LICENCES, by=emitter(), effective_at=TOMORROW)
    asked.then(ServicePhaseChanged(phase=Phase.BETA))
    log.when(
        decider.change_phase, command, LICENCES, by=emitter(TREASURY), effective_at=TOMORROW
    ).then_refused(NotYoursError)
    log.when(decider.change_phase, command, LICENCES, by=emitter()).then_refused(
        NotKnownAtError, "/effective_from"
    )


def test_change_details_logs_only_what_changes() -> None:
    log = given(service(name="Old", description="Before", kind=ServiceKind.API))
    command = ChangeDetails(
        name="New", kind=ServiceKind.API, description="Before", reason="renamed"
    )
    log.when(decider.change_details, command, LICENCES).then(
        ServiceDetailsChanged(name="New", reason="renamed")
    )


def test_change_details_to_what_holds_changes_nothing() -> None:
    log = given(service(name="Old", description="Before", kind=ServiceKind.API))
    for command in (
        ChangeDetails(name="Old"),
        ChangeDetails(kind=ServiceKind.API),
        ChangeDetails(description="Before"),
        ChangeDetails(name="Old", reason="again"),
    ):
        log.when(decider.change_details, command, LICENCES).then_nothing()


def test_change_details_clears_a_description_with_null_and_only_once() -> None:
    clear = ChangeDetails.model_validate({"description": None})
    log = given(service(description="Before"))
    log.when(decider.change_details, clear, LICENCES).then(ServiceDetailsChanged(description=None))
    given(service()).when(decider.change_details, clear, LICENCES).then_nothing()


def test_change_details_is_compared_with_the_effective_time() -> None:
    log = given(service(name="Old"), event(ServiceDetailsChanged(name="New"), at=NOON))
    back = ChangeDetails(name="Old")
    log.when(decider.change_details, back, LICENCES, effective_at=YESTERDAY).then_nothing()
    log.when(decider.change_details, back, LICENCES, effective_at=NOON).then(
        ServiceDetailsChanged(name="Old")
    )


def attributes(**more: object) -> ChangeDetails:
    return ChangeDetails.model_validate({"attributes": {"source": "crm"} | more})


def test_attributes_of_a_source_are_set_and_unset_where_they_differ() -> None:
    log = given(service(attributes=SourceAttributes(source="crm", set={"a": 1, "b": 2, "c": 3})))
    command = attributes(set={"a": 1, "b": 5, "d": None}, unset=["c", "e"])
    log.when(decider.change_details, command, LICENCES).then(
        ServiceDetailsChanged(attributes=SourceAttributes(source="crm", set={"b": 5}, unset=("c",)))
    )


def test_attributes_that_hold_change_nothing() -> None:
    log = given(service(attributes=SourceAttributes(source="crm", set={"a": {"b": [1]}})))
    log.when(
        decider.change_details, attributes(set={"a": {"b": [1]}}, unset=["x"]), LICENCES
    ).then_nothing()


def test_attributes_of_another_source_are_other_attributes() -> None:
    log = given(service(attributes=SourceAttributes(source="hr", set={"a": 1})))
    log.when(decider.change_details, attributes(unset=["a"]), LICENCES).then_nothing()
    log.when(decider.change_details, attributes(set={"a": 1}), LICENCES).then(
        ServiceDetailsChanged(attributes=SourceAttributes(source="crm", set={"a": 1}, unset=()))
    )


@pytest.mark.parametrize(("held", "wanted"), [(1, True), (0, False), ([1], [True])])
def test_an_attribute_that_turns_from_a_number_into_a_truth_value_changes(
    held: object, wanted: object
) -> None:
    log = given(service(attributes=SourceAttributes(source="crm", set={"a": held})))
    decision = log.when(decider.change_details, attributes(set={"a": wanted}), LICENCES).decide()
    assert decision.events


def test_an_attribute_that_was_unset_can_be_set_again() -> None:
    log = given(
        service(attributes=SourceAttributes(source="crm", set={"a": 1})),
        event(ServiceDetailsChanged(attributes=SourceAttributes(source="crm", unset=("a",)))),
    )
    log.when(decider.change_details, attributes(set={"a": 1}), LICENCES).then(
        ServiceDetailsChanged(attributes=SourceAttributes(source="crm", set={"a": 1}, unset=()))
    )


def test_move_names_the_organisation_before() -> None:
    estate().when(decider.move, MoveService(organisation="treasury"), LICENCES).then(
        ServiceMoved(organisation=TREASURY, from_organisation=CABINET)
    )


def test_move_to_where_it_is_changes_nothing() -> None:
    estate().when(decider.move, MoveService(organisation=CABINET), LICENCES).then_nothing()


def test_move_refuses_an_organisation_that_nobody_knows() -> None:
    estate().when(decider.move, MoveService(organisation="nobody"), LICENCES).then_refused(
        NotFoundError, "/organisation"
    )


def test_an_emitter_may_give_its_service_away() -> None:
    estate().when(decider.move, MoveService(organisation="treasury"), LICENCES, by=emitter()).then(
        ServiceMoved(organisation=TREASURY, from_organisation=CABINET)
    )


def test_change_phase_to_the_same_changes_nothing_and_to_unknown_is_a_fact() -> None:
    log = given(service(phase=Phase.BETA))
    log.when(decider.change_phase, ChangePhase(phase=Phase.BETA), LICENCES).then_nothing()
    log.when(decider.change_phase, ChangePhase(phase=None), LICENCES).then(
        ServicePhaseChanged(phase=None)
    )
    given(service()).when(decider.change_phase, ChangePhase(phase=None), LICENCES).then_nothing()


def test_of_two_facts_with_equal_effective_time_the_later_in_the_log_holds() -> None:
    log = given(
        service(),
        event(ServicePhaseChanged(phase=Phase.ALPHA), at=NOON),
        event(ServicePhaseChanged(phase=Phase.BETA), at=NOON),
    )
    log.when(decider.change_phase, ChangePhase(phase=Phase.BETA), LICENCES).then_nothing()
    log.when(decider.change_phase, ChangePhase(phase=Phase.ALPHA), LICENCES).then(
        ServicePhaseChanged(phase=Phase.ALPHA)
    )


def test_a_fact_about_the_past_does_not_change_what_holds_now() -> None:
    log = given(
        service(),
        event(ServicePhaseChanged(phase=Phase.LIVE), at=YESTERDAY),
        event(ServicePhaseChanged(phase=Phase.BETA), at=YESTERDAY - timedelta(days=9)),
    )
    log.when(decider.change_phase, ChangePhase(phase=Phase.LIVE), LICENCES).then_nothing()


def test_delist_and_reinstate_follow_each_other() -> None:
    listed, delisted = given(service()), given(service(), event(ServiceDelisted()))
    listed.when(decider.delist, DelistService(reason="gone"), LICENCES).then(
        ServiceDelisted(reason="gone")
    )
    listed.when(decider.reinstate, ReinstateService(), LICENCES).then_nothing()
    delisted.when(decider.delist, DelistService(), LICENCES).then_nothing()
    delisted.when(decider.reinstate, ReinstateService(), LICENCES).then(ServiceReinstated())


def test_retire_names_the_successor() -> None:
    log = estate(service(PUBLISHING, "publishing"))
    log.when(decider.retire, RetireService(successor="publishing"), LICENCES).then(
        ServiceRetired(successor=PUBLISHING)
    )
    log.when(decider.retire, RetireService(), LICENCES).then(ServiceRetired(successor=None))


@pytest.mark.parametrize("successor", ["nobody", LICENCES, "licence-finder"])
def test_retire_refuses_itself_and_nobody_as_successor(successor: str) -> None:
    estate().when(decider.retire, RetireService(successor=successor), LICENCES).then_refused(
        NotFoundError, "/successor"
    )


def test_a_service_retires_once() -> None:
    log = estate(service(PUBLISHING, "publishing"), event(ServiceRetired(successor=PUBLISHING)))
    log.when(decider.retire, RetireService(successor="publishing"), LICENCES).then_nothing()
    refusal = log.when(decider.retire, RetireService(), LICENCES)
    assert PUBLISHING in refusal.then_refused(ServiceAlreadyRetiredError).detail


def test_a_service_that_retires_later_does_not_retire_before_with_another_successor() -> None:
    retired = event(ServiceRetired(successor=PUBLISHING), at=NOON + DAY)
    ending = event(ServicePhaseChanged(phase=Phase.RETIRING), at=NOON + DAY / 2)
    for log in (
        estate(service(PUBLISHING, "publishing"), retired),
        estate(service(PUBLISHING, "publishing"), ending, retired),
    ):
        log.when(decider.retire, RetireService(), LICENCES).then_refused(ServiceAlreadyRetiredError)
        same = RetireService(successor="publishing")
        log.when(decider.retire, same, LICENCES).then(ServiceRetired(successor=PUBLISHING))
        log.when(decider.retire, same, LICENCES, effective_at=NOON + 2 * DAY).then_nothing()


def test_a_service_that_lived_again_retires_with_another_successor() -> None:
    log = estate(
        service(PUBLISHING, "publishing"),
        event(ServicePhaseChanged(phase=Phase.LIVE), at=NOON + DAY),
        event(ServiceRetired(successor=PUBLISHING), at=NOON + 2 * DAY),
    )
    log.when(decider.retire, RetireService(), LICENCES).then(ServiceRetired(successor=None))
    log = estate(
        service(PUBLISHING, "publishing"),
        event(ServiceRetired(successor=PUBLISHING), at=NOON - 2 * DAY),
        event(ServicePhaseChanged(phase=Phase.LIVE), at=NOON - DAY),
    )
    log.when(decider.retire, RetireService(), LICENCES).then(ServiceRetired(successor=None))


def test_add_alias_takes_the_name_for_the_service() -> None:
    decision = (
        given(service())
        .when(decider.add_alias, AddAlias(alias="crm:9"), LICENCES)
        .then(ServiceAliasAdded(alias="crm:9"))
    )
    assert decision.events[0].claims == (Claim("service.alias", "crm:9"),)


def test_add_alias_again_changes_nothing_and_of_another_service_is_refused() -> None:
    log = given(service(aliases=("crm:1",)), service(PUBLISHING, "publishing"))
    log.when(decider.add_alias, AddAlias(alias="crm:1"), LICENCES).then_nothing()
    log.when(decider.add_alias, AddAlias(alias="crm:1"), PUBLISHING).then_refused(
        ServiceAlreadyRegisteredError, "/alias"
    )


def test_set_visibility_to_the_same_changes_nothing() -> None:
    log = given(service())
    log.when(
        decider.set_visibility, SetVisibility(visibility=Visibility.INTERNAL), LICENCES
    ).then_nothing()
    log.when(decider.set_visibility, SetVisibility(visibility=Visibility.PUBLIC), LICENCES).then(
        ServiceVisibilitySet(visibility=Visibility.PUBLIC)
    )


def test_a_team_keeps_no_service() -> None:
    log = given(organisation(), team(), service())
    refused = TeamKeepsNoServiceError, "/organisation"
    log.when(decider.move, MoveService(organisation="team-one"), LICENCES).then_refused(*refused)
    command = RegisterService(name="Passports", kind=ServiceKind.API, organisation=TEAM)
    log.when(decider.register, command).then_refused(*refused)
