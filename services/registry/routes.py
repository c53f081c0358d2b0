"""Owns the registry's read routes: who may ask what, and in which words.

Must not hold a query; those are in read_models, one file for each question.
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from services.registry import answers
from services.registry.public_reads import PublicReads
from services.registry.read_models.history import entry, stream_events, within
from services.registry.read_models.organisations import list_organisations, organisations_at
from services.registry.read_models.projection import LOG
from services.registry.read_models.references import one_at, require
from services.registry.read_models.service import services_at
from services.registry.read_models.service_list import list_services
from services.registry.read_models.service_query import (
    ServiceListQuery,
    organisation_named,
    service_filter,
)
from services.registry.read_models.summary import gaps, owners, summary
from shared.commands.command import Reference
from shared.contracts.events.organisations import OrganisationKind
from shared.eventstore.reader import LogReader
from shared.http.problems import NOT_KNOWN_THEN, Problem
from shared.http.routes import Call, Reply, Route
from shared.projections.read_models import Reflection
from shared.reads.reading import (
    MomentQuery,
    PageQuery,
    Reads,
)
from shared.reads.routes import log_route, read_route
from shared.reads.version import versioned


class OrganisationListQuery(PageQuery):
    """Which organisations to list."""

    kind: OrganisationKind | None = None
    parent: Reference | None = Field(default=None, description="A reference, or `none`.")


class TopQuery(MomentQuery):
    """How many of the first to answer."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50


def read_routes(reads: Reads, reader: LogReader) -> tuple[Route, ...]:
    """Every question that the registry answers."""
    return (
        *_service_routes(reads, reader),
        *_organisation_routes(reads),
        *_estate_routes(reads),
        log_route(reader),
    )


def _service_routes(reads: Reads, reader: LogReader) -> tuple[Route, ...]:
    async def listing(call: Call[None, ServiceListQuery]) -> Reply:
        async with reads.ask(call) as asked:
            wanted = await service_filter(asked, call.query)
            limit = call.query.limit
            found = await list_services(
                asked.connection, wanted, asked.after, limit + 1, asked.moment
            )
            page = [subject for subject, _slug in found[:limit]]
            items = await services_at(asked.connection, page, asked.moment)
            last = found[limit - 1][1] if len(found) > limit else None
            return Reply(body=reads.page(asked, items, last))

    async def one(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call) as asked:
            subject, document = await one_at(asked, "service", call.path["service"], services_at)
            return await versioned(asked, LOG, f"service-{subject}", document)

    async def history(call: Call[None, PageQuery]) -> Reply:
        async with reads.ask(call) as asked:
            subject = await require(asked.connection, "service", call.path["service"])
            head = (await reader.head()).where
            wanted = within(asked.moment, head.position)
            events, last = await stream_events(
                reader, f"service-{subject}", asked.after, call.query.limit, wanted
            )
            if not events:
                raise Problem(NOT_KNOWN_THEN)
            items = [entry(event) for event in events]
            at_the_head = replace(asked, reflection=Reflection({LOG: head}, lag_ms=0))
            return Reply(body=reads.page(at_the_head, items, last))

    public = PublicReads(reads, reader)
    return (
        read_route(
            "/v1/services",
            listing,
            "list_services",
            "Which services",
            ServiceListQuery,
            answers.SERVICES,
            public=public.listing,
        ),
        read_route(
            "/v1/services/{service}",
            one,
            "get_service",
            "What a service is",
            MomentQuery,
            answers.ONE_SERVICE,
            public=public.one,
        ),
        read_route(
            "/v1/services/{service}/history",
            history,
            "get_service_history",
            "How a service came to be so",
            PageQuery,
            answers.HISTORY,
            public=public.history,
        ),
    )


def _organisation_routes(reads: Reads) -> tuple[Route, ...]:
    async def listing(call: Call[None, OrganisationListQuery]) -> Reply:
        query = call.query
        async with reads.ask(call) as asked:
            parent = await organisation_named(asked, query.parent, "parent")
            found = await list_organisations(
                asked.connection, query.kind, parent, asked.after, query.limit + 1, asked.moment
            )
            page = [subject for subject, _slug in found[: query.limit]]
            items = await organisations_at(asked.connection, page, asked.moment)
            last = found[query.limit - 1][1] if len(found) > query.limit else None
            return Reply(body=reads.page(asked, items, last))

    async def one(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call) as asked:
            reference = call.path["organisation"]
            subject, document = await one_at(asked, "organisation", reference, organisations_at)
            return await versioned(asked, LOG, f"organisation-{subject}", document)

    return (
        read_route(
            "/v1/organisations",
            listing,
            "list_organisations",
            "Which organisations there are",
            OrganisationListQuery,
            answers.ORGANISATIONS,
        ),
        read_route(
            "/v1/organisations/{organisation}",
            one,
            "get_organisation",
            "What an organisation is",
            MomentQuery,
            answers.ONE_ORGANISATION,
        ),
    )


def _estate_routes(reads: Reads) -> tuple[Route, ...]:
    async def whole(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call) as asked:
            return Reply(body=asked.answer(await summary(asked.connection, asked.moment)))

    async def most(call: Call[None, TopQuery]) -> Reply:
        async with reads.ask(call) as asked:
            items = await owners(asked.connection, call.query.limit, asked.moment)
            return Reply(body=asked.answer({"items": items}))

    async def missing(call: Call[None, TopQuery]) -> Reply:
        async with reads.ask(call) as asked:
            answer = await gaps(asked.connection, call.query.limit, asked.moment)
            return Reply(body=asked.answer(answer))

    return (
        read_route(
            "/v1/summary",
            whole,
            "get_summary",
            "How the estate stands",
            MomentQuery,
            answers.SUMMARY,
        ),
        read_route("/v1/owners", most, "list_owners", "Who owns most", TopQuery, answers.OWNERS),
        read_route(
            "/v1/gaps", missing, "get_gaps", "What is missing in the map", TopQuery, answers.GAPS
        ),
    )
