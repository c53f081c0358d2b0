"""Owns the table of commands on services: name, address, body, rule, example."""

from typing import Any

from services.registry.services import commands, decider
from shared.commands.command import CommandType
from shared.contracts.events import services as facts

_TAG = "Services"
_ROLES = "Roles"


def _on(verb: str) -> str:
    return f"/v1/services/{{service}}/{verb}"


COMMANDS: tuple[CommandType[Any], ...] = (
    CommandType(
        name="estate.service.register.v1",
        path="/v1/services",
        body=commands.RegisterService,
        decide=decider.register,
        leads_to=facts.ServiceRegistered.TYPE,
        summary="Register a service",
        tag=_TAG,
        example={
            "name": "Whitehall",
            "kind": "component",
            "phase": "live",
            "aliases": ["govuk-repos:whitehall"],
            "reason": "first mapping",
        },
    ),
    CommandType(
        name="estate.service.change_details.v1",
        path=_on("change-details"),
        body=commands.ChangeDetails,
        decide=decider.change_details,
        leads_to=facts.ServiceDetailsChanged.TYPE,
        summary="Change name, kind, description or attributes",
        tag=_TAG,
        example={
            "description": "Publishes government content",
            "attributes": {"source": "govuk-repos", "set": {"production_hosted_on": "eks"}},
        },
    ),
    CommandType(
        name="estate.service.move.v1",
        path=_on("move"),
        body=commands.MoveService,
        decide=decider.move,
        leads_to=facts.ServiceMoved.TYPE,
        summary="Let another organisation keep a service",
        tag=_TAG,
        example={"organisation": "cabinet-office", "reason": "machinery of government change"},
    ),
    CommandType(
        name="estate.service.change_phase.v1",
        path=_on("change-phase"),
        body=commands.ChangePhase,
        decide=decider.change_phase,
        leads_to=facts.ServicePhaseChanged.TYPE,
        summary="Change the phase a service stands in",
        tag=_TAG,
        example={"phase": "beta", "reason": "alpha assessment met"},
    ),
    CommandType(
        name="estate.service.delist.v1",
        path=_on("delist"),
        body=commands.DelistService,
        decide=decider.delist,
        leads_to=facts.ServiceDelisted.TYPE,
        summary="Record that its source no longer lists a service",
        tag=_TAG,
        example={"reason": "removed from the list of applications"},
    ),
    CommandType(
        name="estate.service.reinstate.v1",
        path=_on("reinstate"),
        body=commands.ReinstateService,
        decide=decider.reinstate,
        leads_to=facts.ServiceReinstated.TYPE,
        summary="Record that its source lists a service again",
        tag=_TAG,
        example={"reason": "back on the list of applications"},
    ),
    CommandType(
        name="estate.service.retire.v1",
        path=_on("retire"),
        body=commands.RetireService,
        decide=decider.retire,
        leads_to=facts.ServiceRetired.TYPE,
        summary="End a service",
        tag=_TAG,
        example={"successor": "places-manager", "reason": "replaced"},
    ),
    CommandType(
        name="estate.service.add_alias.v1",
        path=_on("add-alias"),
        body=commands.AddAlias,
        decide=decider.add_alias,
        leads_to=facts.ServiceAliasAdded.TYPE,
        summary="Let a service answer to one more name of a source",
        tag=_TAG,
        example={"alias": "govuk-docker:whitehall"},
    ),
    CommandType(
        name="estate.service.set_visibility.v1",
        path=_on("set-visibility"),
        body=commands.SetVisibility,
        decide=decider.set_visibility,
        leads_to=facts.ServiceVisibilitySet.TYPE,
        summary="Say who may see a service",
        tag=_TAG,
        example={"visibility": "public"},
    ),
    CommandType(
        name="estate.service.assign_role.v1",
        path=_on("assign-role"),
        body=commands.AssignRole,
        decide=decider.assign_role,
        leads_to=facts.RoleAssigned.TYPE,
        summary="Let somebody hold a role, naming who held it before",
        tag=_ROLES,
        example={
            "role": "owning-team",
            "holder": "govuk-teams:#govuk-platform-health",
            "previous_holder": None,
            "reason": "first owner",
        },
    ),
    CommandType(
        name="estate.service.vacate_role.v1",
        path=_on("vacate-role"),
        body=commands.VacateRole,
        decide=decider.vacate_role,
        leads_to=facts.RoleVacated.TYPE,
        summary="Let nobody hold a role",
        tag=_ROLES,
        example={"role": "product-manager", "holder": "contact:c-204", "reason": "left the team"},
    ),
)
