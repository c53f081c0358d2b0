"""Owns what the registry tells callers without a key: of services that are public, and no more.

Must name every member that is shown; what is new stays hidden until it is named here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.registry.read_models.history import Wanted, stream_events, within
from services.registry.read_models.projection import LOG
from services.registry.read_models.references import find
from services.registry.read_models.service import services_at
from services.registry.read_models.service_list import ServiceFilter, list_services
from services.registry.read_models.service_query import ServiceListQuery, service_filter
from shared.clock import format_instant
from shared.contracts.envelope import Event
from shared.contracts.events.services import Visibility
from shared.contracts.names import CONTACT_PATTERN
from shared.eventstore.reader import LogReader
from shared.http.problems import Problem
from shared.http.routes import Call, Reply
from shared.projections.facts import fact_history
from shared.reads.public import nothing_public, public_among
from shared.reads.reading import Asked, MomentQuery, PageQuery, Reads

_AT_ONCE: Final = 200
_SHOWN: Final = (
    *("id", "slug", "name", "kind", "description", "phase", "listed", "visibility"),
    *("organisation", "aliases", "attributes", "effective_from", "position"),
)
_SHOWN_DATA: Final = (
    *("slug", "name", "kind", "description", "phase", "visibility", "organisation"),
    *("from_organisation", "alias", "aliases", "attributes", "role"),
)
_PARTIES: Final = ("holder", "previous_holder")


@dataclass(frozen=True, slots=True)
class PublicReads:
    """The answers to callers without a key; each asks what is public before it shows anything."""

    reads: Reads
    reader: LogReader

    async def listing(self, call: Call[None, ServiceListQuery]) -> Reply:
        """Which public services there are."""
        limit = call.query.limit
        async with self.reads.ask(call) as asked:
            found = await _listed(asked, await _filter(asked, call.query), limit)
            items = await _documents(asked, [subject for subject, _slug in found[:limit]])
            last = found[limit - 1][1] if len(found) > limit else None
            return Reply(body=self.reads.page(asked, items, last))

    async def one(self, call: Call[None, MomentQuery]) -> Reply:
        """What a public service is."""
        async with self.reads.ask(call) as asked:
            subject = await _required(asked, call)
            for document in await _documents(asked, [subject]):
                return Reply(body=asked.answer(document))
            raise nothing_public()

    async def history(self, call: Call[None, PageQuery]) -> Reply:
        """How a public service came to be so, as long as it was public."""
        async with self.reads.ask(call) as asked:
            subject = await _required(asked, call)
            wanted = await _when_public(asked, subject)
            events, last = await stream_events(
                self.reader, f"service-{subject}", asked.after, call.query.limit, wanted
            )
            return Reply(body=self.reads.page(asked, await _entries(asked, events), last))


async def _required(asked: Asked, call: Call[None, Any]) -> str:
    """The service named. Raises: Problem, the same for an internal one as for none."""
    subject = await find(asked.connection, "service", call.path["service"])
    if subject is None or subject not in await public_among(asked, [subject]):
        raise nothing_public()
    return subject


async def _filter(asked: Asked, query: ServiceListQuery) -> ServiceFilter | None:
    """The filter asked for, of public services; None when it lets nothing through."""
    parties = (query.holder, query.owner)
    if query.visibility is Visibility.INTERNAL or any(map(_is_contact, parties)):
        return None
    try:
        wanted = await service_filter(asked, query)
    except Problem:
        return None  # Which organisations there are is not for the public.
    return replace(wanted, visibility=Visibility.PUBLIC.value)


async def _listed(asked: Asked, wanted: ServiceFilter | None, limit: int) -> list[tuple[str, str]]:
    """More than `limit` pairs of id and slug, if there are more."""
    found = list[tuple[str, str]]()
    after, more = asked.after, wanted is not None
    while wanted is not None and more and len(found) <= limit:
        listed = await list_services(asked.connection, wanted, after, _AT_ONCE, asked.moment)
        seen = await public_among(asked, [subject for subject, _slug in listed])
        found += [pair for pair in listed if pair[0] in seen]
        more = len(listed) == _AT_ONCE
        after = listed[-1][1] if more else after
    return found


async def _documents(asked: Asked, subjects: list[str]) -> list[dict[str, Any]]:
    documents = await services_at(asked.connection, subjects, asked.moment)
    seen = await public_among(asked, [one["successor"] for one in documents if one["successor"]])
    return [_document(one, seen) for one in documents]


def _document(document: Mapping[str, Any], seen: frozenset[str]) -> dict[str, Any]:
    roles = document["roles"].items()
    shown = {name: document[name] for name in _SHOWN}
    shown["roles"] = {role: party for role, party in roles if not _is_contact(party["id"])}
    shown["successor"] = document["successor"] if document["successor"] in seen else None
    return shown


async def _when_public(asked: Asked, subject: str) -> Wanted:
    """Whether an event is of the moment, reflected, and from when the service was public."""
    facts = await fact_history(asked.connection, subject)
    said = sorted(
        (fact.effective_from, fact.position, fact.value)
        for fact in facts
        if fact.attribute == "visibility" and fact.retracted_at_position is None
    )
    is_within = within(asked.moment, asked.reflection.positions[LOG].position)
    return lambda event: is_within(event) and _was_public(said, event.effective_at)


async def _entries(asked: Asked, events: Sequence[Event]) -> list[dict[str, Any]]:
    named = [e.data["successor"] for e in events if e.data and e.data.get("successor")]
    seen = await public_among(asked, named)
    return [_entry(event, seen) for event in events]


def _was_public(said: Sequence[tuple[datetime, int, str]], at: datetime) -> bool:
    return [value for since, _, value in said if since <= at][-1:] == [Visibility.PUBLIC.value]


def _entry(event: Event, seen: frozenset[str]) -> dict[str, Any]:
    return {
        "position": str(event.where),
        "version": event.stream_version,
        "type": event.type,
        "effective_from": format_instant(event.effective_at),
        "recorded_at": format_instant(event.recorded_at),
        "redacted": event.data is None,
        "data": None if event.data is None else _data(event.data, seen),
    }


def _data(data: Mapping[str, Any], seen: frozenset[str]) -> dict[str, Any]:
    shown = {name: data[name] for name in _SHOWN_DATA if name in data}
    shown |= {n: data[n] for n in _PARTIES if n in data and not _is_contact(data[n])}
    if data.get("successor") in seen:
        shown["successor"] = data["successor"]
    return shown


def _is_contact(party: str | None) -> bool:
    return party is not None and CONTACT_PATTERN.fullmatch(party) is not None
