"""Owns how a list of services is asked for: the words of the query, and what they refer to."""

from typing import Annotated, Final, Literal

from pydantic import Field

from services.registry.read_models.references import require
from services.registry.read_models.service_list import ServiceFilter
from services.registry.services.commands import Holder
from shared.commands.command import Reference
from shared.contracts.events.services import Phase, ServiceKind, Visibility
from shared.contracts.names import CONTACT_PATTERN
from shared.http.problems import BAD_QUERY, Fault, Problem
from shared.reads.reading import Asked, PageQuery

NONE: Final = "none"
_LISTED: Final = {"true": True, "false": False, "all": None}


class ServiceListQuery(PageQuery):
    """Which services to list."""

    listed: Literal["true", "false", "all"] = "true"
    organisation: Reference | None = Field(default=None, description="A reference, or `none`.")
    owner: Holder | None = Field(
        default=None, description="Who is its owning team: as `holder`, or `none`."
    )
    holder: Holder | None = Field(
        default=None, description="Who holds any role: an organisation, or contact:<opaque id>."
    )
    phase: Literal["unknown"] | Phase | None = None
    kind: ServiceKind | None = None
    visibility: Visibility | None = None
    q: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Part of a name."
    )


async def service_filter(asked: Asked, query: ServiceListQuery) -> ServiceFilter:
    """The filter that a query asks for, its references resolved.

    Raises: Problem `bad-query` when one is not.
    """
    return ServiceFilter(
        listed=_LISTED[query.listed],
        organisation=await organisation_named(asked, query.organisation, "organisation"),
        owner=await organisation_named(asked, query.owner, "owner"),
        phase="" if query.phase == "unknown" else query.phase,
        kind=query.kind,
        visibility=query.visibility,
        holder=await organisation_named(asked, query.holder, "holder"),
        search=query.q,
    )


async def organisation_named(asked: Asked, reference: str | None, parameter: str) -> str | None:
    """The id behind a filter's reference; `none` becomes the empty text.

    Raises: Problem `bad-query` when nothing answers to it.
    """
    if reference is None or CONTACT_PATTERN.fullmatch(reference):
        return reference
    if reference == NONE:
        return ""
    try:
        return await require(asked.connection, "organisation", reference)
    except Problem as problem:
        fault = Fault(f"/{parameter}", "no organisation answers to this reference")
        raise Problem(BAD_QUERY, errors=[fault]) from problem
