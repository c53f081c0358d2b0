from datetime import datetime, timedelta

import pytest

from services.registry.services import decider
from services.registry.services.commands import AssignRole, VacateRole
from services.registry.services.decider import HolderDiffersError, LaterHandOverError
from shared.commands.refusals import NotFoundError, NotKnownAtError
from shared.contracts.events.services import Role, RoleAssigned, RoleVacated
from shared.eventstore.types import NewEvent
from tests.support.builders import (
    LICENCES,
    LONG_AGO,
    OTHER_TEAM,
    TEAM,
    event,
    organisation,
    service,
    team,
)
from tests.support.clock import NOON
from tests.support.given import Asked, Given, given

OWNER = Role.OWNING_TEAM
YESTERDAY = NOON - timedelta(days=1)
TOMORROW = NOON + timedelta(days=1)


def held(holder: str, before: str | None = None, at: datetime = LONG_AGO) -> NewEvent:
    return event(RoleAssigned(role=OWNER, holder=holder, previous_holder=before), at=at)


def vacated(holder: str, at: datetime) -> NewEvent:
    return event(RoleVacated(role=OWNER, holder=holder), at=at)


def assigned(holder: str, before: str | None) -> RoleAssigned:
    return RoleAssigned(role=OWNER, holder=holder, previous_holder=before)


def estate(*more: NewEvent) -> Given:
    return given(organisation(), team(), team(OTHER_TEAM, "team-two"), service(), *more)


def assign(log: Given, holder: str, before: str | None, at: datetime = NOON) -> Asked:
    command = AssignRole(role=OWNER, holder=holder, previous_holder=before)
    return log.when(decider.assign_role, command, LICENCES, effective_at=at)


def vacate(log: Given, holder: str, at: datetime = NOON) -> Asked:
    command = VacateRole(role=OWNER, holder=holder)
    return log.when(decider.vacate_role, command, LICENCES, effective_at=at)


@pytest.mark.parametrize(
    ("holder", "logged"),
    [("team-one", TEAM), (TEAM, TEAM), ("contact:c-204", "contact:c-204")],
)
def test_a_role_is_assigned_to_an_organisation_or_a_contact(holder: str, logged: str) -> None:
    assign(estate(), holder, None).then(assigned(logged, None))


def test_a_hand_over_names_the_holder_before() -> None:
    assign(estate(held(TEAM)), "team-two", "team-one").then(assigned(OTHER_TEAM, TEAM))


def test_a_hand_over_from_somebody_who_does_not_hold_the_role_is_refused() -> None:
    assign(estate(), "team-two", "team-one").then_refused(HolderDiffersError, "/previous_holder")
    assign(estate(held(TEAM)), "team-two", None).then_refused(
        HolderDiffersError, "/previous_holder"
    )
    assign(estate(held(TEAM)), "team-two", "contact:x").then_refused(
        HolderDiffersError, "/previous_holder"
    )


def test_assigning_to_who_holds_the_role_changes_nothing() -> None:
    assign(estate(held(TEAM)), "team-one", "team-one").then_nothing()
    assign(estate(held(TEAM)), "team-one", None).then_nothing()
    handed_over = estate(held(TEAM), held(OTHER_TEAM, TEAM, YESTERDAY))
    assign(handed_over, "team-two", "team-one").then_nothing()
    assign(handed_over, "team-two", "contact:x").then_refused(
        HolderDiffersError, "/previous_holder"
    )


def test_a_hand_over_repeated_after_a_later_one_is_refused_now_and_true_then() -> None:
    log = estate(held(TEAM), held(OTHER_TEAM, TEAM, YESTERDAY), held("contact:x", OTHER_TEAM, NOON))
    assign(log, "team-two", "team-one").then_refused(HolderDiffersError, "/previous_holder")
    assign(log, "team-two", "team-one", YESTERDAY).then_nothing()


def test_assigning_to_who_holds_it_from_somebody_else_is_refused() -> None:
    assign(estate(held(TEAM)), "team-one", "team-two").then_refused(
        HolderDiffersError, "/previous_holder"
    )


def test_roles_do_not_touch_each_other() -> None:
    log = estate(held(TEAM))
    command = AssignRole(role=Role.PRODUCT_MANAGER, holder="contact:c-1", previous_holder=None)
    log.when(decider.assign_role, command, LICENCES).then(
        RoleAssigned(role=Role.PRODUCT_MANAGER, holder="contact:c-1", previous_holder=None)
    )


def test_holders_that_nobody_knows_are_refused_where_they_stand() -> None:
    assign(estate(), "nobody", None).then_refused(NotFoundError, "/holder")
    assign(estate(), "team-one", "nobody").then_refused(NotFoundError, "/previous_holder")
    vacate(estate(), "nobody").then_refused(NotFoundError, "/holder")
    late = organisation("org_" + "9" * 32, "late", at=TOMORROW)
    assign(estate(late), "late", None).then_refused(NotKnownAtError, "/holder")
    assign(estate(late), "late", None, TOMORROW).then(assigned(late.subject, None))


def test_a_hand_over_in_the_past_is_checked_against_the_holder_then() -> None:
    log = estate(held(TEAM), held(OTHER_TEAM, TEAM, YESTERDAY))
    assign(log, "contact:c-1", "team-two").then(assigned("contact:c-1", OTHER_TEAM))
    assign(log, "contact:c-1", "team-one").then_refused(HolderDiffersError, "/previous_holder")
    then = YESTERDAY - timedelta(days=1)
    assign(log, "contact:c-1", "team-two", then).then_refused(
        HolderDiffersError, "/previous_holder"
    )


def test_a_hand_over_before_a_later_one_would_contradict_it() -> None:
    log = estate(held(TEAM), held(OTHER_TEAM, TEAM, TOMORROW))
    assign(log, "contact:c-1", "team-one").then_refused(LaterHandOverError)
    vacate(log, "team-one").then_refused(LaterHandOverError)
    assign(log, "team-one", "team-one").then_nothing()


def test_a_first_holder_before_a_later_first_holder_would_contradict_it() -> None:
    log = estate(held(TEAM, None, TOMORROW))
    assign(log, "team-two", None).then_refused(LaterHandOverError)


def test_a_hand_over_at_the_very_time_of_another_follows_it() -> None:
    log = estate(held(TEAM), held(OTHER_TEAM, TEAM, NOON))
    assign(log, "contact:c-1", "team-two", NOON).then(assigned("contact:c-1", OTHER_TEAM))
    assign(log, "contact:c-1", "team-one", NOON - timedelta(microseconds=1)).then_refused(
        LaterHandOverError
    )


def test_vacate_names_the_holder() -> None:
    vacate(estate(held(TEAM)), "team-one").then(RoleVacated(role=OWNER, holder=TEAM))
    vacate(estate(held(TEAM)), "team-two").then_refused(HolderDiffersError, "/holder")


def test_vacating_what_nobody_holds_changes_nothing() -> None:
    vacate(estate(), "team-one").then_nothing()
    vacate(estate(held(TEAM), vacated(TEAM, YESTERDAY)), "team-one").then_nothing()


def test_a_vacated_role_is_assigned_from_nobody() -> None:
    log = estate(held(TEAM), vacated(TEAM, YESTERDAY))
    assign(log, "team-two", None).then(assigned(OTHER_TEAM, None))
    assign(log, "team-two", "team-one").then_refused(HolderDiffersError, "/previous_holder")


def test_the_refusal_says_who_holds_the_role() -> None:
    refusal = assign(estate(held(TEAM)), "team-two", None)
    assert TEAM in refusal.then_refused(HolderDiffersError, "/previous_holder").detail
