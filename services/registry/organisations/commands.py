"""Owns what may be asked of an organisation."""

from pydantic import Field

from shared.commands.command import Alias, CommandBody, Line, Reference, Slug
from shared.contracts.events.organisations import OrganisationKind


class RegisterOrganisation(CommandBody):
    """Make an organisation, or a team, known."""

    name: Line
    kind: OrganisationKind = Field(strict=False)
    slug: Slug | None = Field(default=None, description="Derived from the name when not given.")
    parent: Reference | None = None
    aliases: tuple[Alias, ...] = Field(default=(), max_length=20, strict=False)


class RenameOrganisation(CommandBody):
    """Give an organisation another name; its slug stays."""

    name: Line
