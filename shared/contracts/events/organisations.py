"""Facts about organisations, from their registration on."""

from enum import StrEnum
from typing import ClassVar

from shared.contracts.events.model import EventData


class OrganisationKind(StrEnum):
    """What sort of body an organisation is; a team is one too."""

    DEPARTMENT = "department"
    AGENCY = "agency"
    PUBLIC_BODY = "public-body"
    LOCAL_AUTHORITY = "local-authority"
    SUPPLIER = "supplier"
    OTHER = "other"
    TEAM = "team"


class OrganisationRegistered(EventData):
    """An organisation became known."""

    TYPE: ClassVar[str] = "estate.organisation.registered.v1"

    name: str
    kind: OrganisationKind
    slug: str
    parent: str | None = None
    aliases: tuple[str, ...] = ()


class OrganisationRenamed(EventData):
    """An organisation goes by another name; its slug stays."""

    TYPE: ClassVar[str] = "estate.organisation.renamed.v1"

    name: str


EVENTS = (OrganisationRegistered, OrganisationRenamed)
