"""Owns what simulated clients ask for: commands in which any loss, repeat or inversion shows.

Must not know by which door one comes.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from shared.contracts.envelope import Origin
from shared.contracts.events.services import ServiceAliasAdded
from shared.eventstore.types import (
    Category,
    Claim,
    CommandRefusedError,
    Decision,
    Fact,
    NewEvent,
    PendingCommand,
    View,
)
from shared.messaging.submissions import Headers, Refusal, digest_of, submission_key

LOG: Final = "registry"
ORGANISATIONS: Final = tuple(f"org_{number:032x}" for number in (1, 2))
_EFFECTIVE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SUBJECTS: Final = 4
_NAMES: Final = 6


class MovedOnError(CommandRefusedError):
    """The stream is not at the version that the request expects."""


def _count(state: int, _fact: Fact) -> int:
    return state + 1


SERVICES: Final[Category[int]] = Category("service", 0, _count)
CATEGORIES: Final[dict[str, Category[Any]]] = {"service": SERVICES}


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that somebody wants: `raw` says it through either door."""

    organisation: str
    id: str
    raw: bytes

    @property
    def key(self) -> str:
        """Its command's key."""
        return submission_key(self.organisation, "sim", self.id)


def make_document(
    number: int,
    *,
    subject: str = "svc_0",
    events: int = 1,
    claim: str | None = None,
    expects: int | None = None,
) -> bytes:
    """Write what a request asks for: events on a stream, with a name, at a version."""
    return orjson.dumps(
        {
            "source": "sim",
            "id": f"r{number}",
            "subject": subject,
            "events": events,
            "claim": claim,
            "expects": expects,
        }
    )


def make_request(chance: random.Random, number: int) -> Request:
    """Make up a request; some will be refused by rule, whichever comes first."""
    raw = make_document(
        number,
        subject=f"svc_{chance.randrange(_SUBJECTS)}",
        events=chance.choice((0, 1, 1, 1, 2, 3)),
        claim=f"name-{chance.randrange(_NAMES)}" if chance.random() < 0.3 else None,
        expects=chance.randrange(8) if chance.random() < 0.2 else None,
    )
    return Request(chance.choice(ORGANISATIONS), f"r{number}", raw)


def to_command(raw: bytes, organisation: str, _headers: Headers) -> PendingCommand | Refusal:
    """Read a request; what is no JSON raises."""
    document = orjson.loads(raw)
    subject, expects, claim = document["subject"], document["expects"], document["claim"]
    claims = (Claim("name", claim),) if claim else ()

    def decide(view: View) -> Decision:
        version = view.load(SERVICES, subject).version
        if expects is not None and version != expects:
            raise MovedOnError(f"version is {version}, not {expects}")
        data = ServiceAliasAdded(alias=f"sim:{document['id']}")
        events = [NewEvent(subject, data, _EFFECTIVE) for _ in range(document["events"])]
        if events:
            events[0] = NewEvent(subject, data, _EFFECTIVE, claims)
        return Decision(subject, tuple(events))

    key = submission_key(organisation, document["source"], document["id"])
    origin = Origin("prn_sim", "crd_sim", organisation, "http", key, key)
    return PendingCommand(key, digest_of(raw), origin, decide)
