"""Owns the registry's read routes: who may ask what, and in which words.

Must not hold a query; those are in read_models, one file for each question.
"""

from typing import Annotated

from pydantic import Field

from services.registry.public_reads import PublicReads
from services.registry.read_models.history import stream_history
from services.registry.read_models.organisations import list_organisations, organisations_at
from services.registry.read_models.projection import LOG
from services.registry.read_models.references import require
from services.registry.read_models.service import services_at
from services.registry.read_models.service_list import list_services
from services.registry.read_models.service_query import ServiceListQuery, service_filter
from services.registry.read_models.summary import gaps, owners, summary
from shared.clock import Clock
from shared.commands.command import Reference
from shared.contracts.events.organisations import OrganisationKind
from shared.eventstore.reader import LogReader
from shared.http.routes import Call, Reply, Route
from shared.reads.reading import (
    MomentQuery,
    PageQuery,
    Reads,
    first_or_not_known,
    moment_of,
)
from shared.reads.routes import log_route, read_route
from shared.reads.version import versioned


class OrganisationListQuery(PageQuery):
    """Which organisations to list."""

    kind: OrganisationKind | None = None
    parent: Reference | None = None


class TopQuery(MomentQuery):
    """How many of the first to answer."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50


def read_routes(reads: Reads, reader: LogReader, clock: Clock) -> tuple[Route, ...]:
    """Every question that the registry answers."""
    return (
        *_service_routes(reads, reader, clock),
        *_organisation_routes(reads),
        *_estate_routes(reads),
        log_route(reader),
    )


def _service_routes(reads: Reads, reader: LogReader, clock: Clock) -> tuple[Route, ...]:
    async def listing(call: Call[None, ServiceListQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
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
        async with reads.ask(call.query) as asked:
            subject = await require(asked.connection, "service", call.path["service"])
            documents = await services_at(asked.connection, [subject], asked.moment)
            document = first_or_not_known(documents)
            return await versioned(asked, LOG, f"service-{subject}", document)

    async def history(call: Call[None, PageQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
            subject = await require(asked.connection, "service", call.path["service"])
            moment = moment_of(call.query, clock) if call.query.cursor is None else asked.moment
            items, last = await stream_history(
                reader, f"service-{subject}", int(asked.after or 0), call.query.limit, moment
            )
            return Reply(body=reads.page(asked, items, None if last is None else str(last)))

    public = PublicReads(reads, reader, clock)
    return (
        read_route(
            "/v1/services",
            listing,
            "list_services",
            "Which services",
            ServiceListQuery,
            public=public.listing,
        ),
        read_route(
            "/v1/services/{service}",
            one,
            "get_service",
            "What a service is",
            MomentQuery,
            public=public.one,
        ),
        read_route(
            "/v1/services/{service}/history",
            history,
            "get_service_history",
            "How a service came to be so",
            PageQuery,
            public=public.history,
        ),
    )


def _organisation_routes(reads: Reads) -> tuple[Route, ...]:
    async def listing(call: Call[None, OrganisationListQuery]) -> Reply:
        query = call.query
        async with reads.ask(query) as asked:
            parent = query.parent
            if parent is not None:
                parent = await require(asked.connection, "organisation", parent)
            found = await list_organisations(
                asked.connection, query.kind, parent, asked.after, query.limit + 1, asked.moment
            )
            page = [subject for subject, _slug in found[: query.limit]]
            items = await organisations_at(asked.connection, page, asked.moment)
            last = found[query.limit - 1][1] if len(found) > query.limit else None
            return Reply(body=reads.page(asked, items, last))

    async def one(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
            reference = call.path["organisation"]
            subject = await require(asked.connection, "organisation", reference)
            documents = await organisations_at(asked.connection, [subject], asked.moment)
            document = first_or_not_known(documents)
            return await versioned(asked, LOG, f"organisation-{subject}", document)

    return (
        read_route(
            "/v1/organisations",
            listing,
            "list_organisations",
            "Which organisations there are",
            OrganisationListQuery,
        ),
        read_route(
            "/v1/organisations/{organisation}",
            one,
            "get_organisation",
            "What an organisation is",
            MomentQuery,
        ),
    )


def _estate_routes(reads: Reads) -> tuple[Route, ...]:
    async def whole(call: Call[None, MomentQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
            return Reply(body=asked.answer(await summary(asked.connection, asked.moment)))

    async def most(call: Call[None, TopQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
            items = await owners(asked.connection, call.query.limit, asked.moment)
            return Reply(body=asked.answer({"items": items}))

    async def missing(call: Call[None, TopQuery]) -> Reply:
        async with reads.ask(call.query) as asked:
            answer = await gaps(asked.connection, call.query.limit, asked.moment)
            return Reply(body=asked.answer(answer))

    return (
        read_route("/v1/summary", whole, "get_summary", "How the estate stands", MomentQuery),
        read_route("/v1/owners", most, "list_owners", "Who owns most", TopQuery),
        read_route("/v1/gaps", missing, "get_gaps", "What is missing in the map", TopQuery),
    )
