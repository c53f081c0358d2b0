"""Owns the table of commands on organisations: name, address, body, rule, example."""

from services.registry.organisations import decider
from services.registry.organisations.commands import RegisterOrganisation, RenameOrganisation
from shared.commands.command import CommandType
from shared.contracts.events import organisations as facts

COMMANDS = (
    CommandType(
        name="estate.organisation.register.v1",
        path="/v1/organisations",
        body=RegisterOrganisation,
        decide=decider.register,
        leads_to=facts.OrganisationRegistered.TYPE,
        summary="Register an organisation or a team",
        tag="Organisations",
        example={"name": "Government Digital Service", "kind": "other", "reason": "first mapping"},
    ),
    CommandType(
        name="estate.organisation.rename.v1",
        path="/v1/organisations/{organisation}/rename",
        body=RenameOrganisation,
        decide=decider.rename,
        leads_to=facts.OrganisationRenamed.TYPE,
        summary="Give an organisation another name",
        tag="Organisations",
        example={"name": "Government Digital Service", "reason": "merged into DSIT"},
    ),
)
