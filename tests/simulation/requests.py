"""Owns what simulated clients ask for: commands in which any loss, repeat or inversion shows.

Must not know by which door one comes.
"""

import random
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import orjson

from shared.auth.principals import Role
from shared.clock import Clock
from shared.commands.command import CommandBody, CommandType, Context
from shared.commands.doors import Doors
from shared.commands.refusals import StaleVersionError
from shared.contracts.events.services import ServiceAliasAdded
from shared.eventstore.types import Category, Claim, Decision, Fact, NewEvent, View
from shared.messaging.lane import ToCommand
from shared.messaging.submissions import submission_key
from shared.service.log_service import _record_reader

LOG: Final = "registry"
ORGANISATIONS: Final = tuple(f"org_{number:032x}" for number in (1, 2))
_EFFECTIVE: Final = "2026-01-01T00:00:00Z"
_SUBJECTS: Final = 4
_NAMES: Final = 6


def _count(state: int, _fact: Fact) -> int:
    return state + 1


SERVICES: Final[Category[int]] = Category("service", 0, _count)
CATEGORIES: Final[dict[str, Category[Any]]] = {"service": SERVICES}


class Wanted(CommandBody):
    """Events on a stream, with a name, at a version."""

    subject: str
    events: int
    claim: str | None
    expects: int | None


def _decide(body: Wanted, _target: str | None, context: Context, view: View) -> Decision:
    version = view.load(SERVICES, body.subject).version
    if body.expects not in {None, version}:
        raise StaleVersionError(f"version is {version}, not {body.expects}")
    data = ServiceAliasAdded(alias="sim:name")
    claims = (Claim("name", body.claim),) if body.claim else ()
    events = [
        NewEvent(body.subject, data, context.effective_at, () if number else claims)
        for number in range(body.events)
    ]
    return Decision(body.subject, tuple(events))


SIMULATE: Final = CommandType(
    name="estate.service.simulate.v1",
    path="/v1/simulated",
    body=Wanted,
    decide=_decide,
    leads_to=ServiceAliasAdded.TYPE,
    summary="Do what a simulated client wants",
    tag="Simulation",
    allow=frozenset({Role.EMITTER}),
)


def make_doors(clock: Clock, process: str) -> Doors:
    """Both doors of one process, which take the one command."""
    numbers = count()
    return Doors([SIMULATE], clock, lambda prefix: f"{prefix}{process}-{next(numbers)}")


def record_reader(doors: Doors) -> ToCommand:
    """How an intake reads a record."""
    return _record_reader(doors, lambda _prefix: "crd_sim")


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that somebody wants: `raw` says it as a submission.

    `as_command`: it is sent as an HTTP command, and never as a submission.
    """

    organisation: str
    id: str
    raw: bytes
    as_command: bool = False

    @property
    def wanted(self) -> dict[str, Any]:
        """What the body of its command holds."""
        wanted: dict[str, Any] = orjson.loads(self.raw)["data"]
        return wanted

    @property
    def key(self) -> str:
        """Its command's key."""
        if self.as_command:
            return f"http:{self.organisation}:{SIMULATE.name}:{self.id}"
        return submission_key(self.organisation, "sim", self.id)

    @property
    def over_http(self) -> tuple[str, bytes, dict[str, str]]:
        """The path, body and headers of an HTTP request that asks for it."""
        if not self.as_command:
            return "/v1/submissions", self.raw, {}
        body = orjson.dumps({**self.wanted, "effective_from": _EFFECTIVE})
        return SIMULATE.path, body, {"Idempotency-Key": self.id}


def make_document(
    number: int,
    *,
    subject: str = "svc_0",
    events: int = 1,
    claim: str | None = None,
    expects: int | None = None,
) -> bytes:
    """Write the submission that asks for events on a stream, with a name, at a version."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "source": "sim",
            "id": f"r{number}",
            "type": SIMULATE.name,
            "time": _EFFECTIVE,
            "data": {"subject": subject, "events": events, "claim": claim, "expects": expects},
        }
    )


def make_request(chance: random.Random, number: int, *, as_command: bool) -> Request:
    """Make up a request; some will be refused by rule, whichever comes first."""
    raw = make_document(
        number,
        subject=f"svc_{chance.randrange(_SUBJECTS)}",
        events=chance.choice((0, 1, 1, 1, 2, 3)),
        claim=f"name-{chance.randrange(_NAMES)}" if chance.random() < 0.3 else None,
        expects=chance.randrange(8) if chance.random() < 0.2 else None,
    )
    return Request(chance.choice(ORGANISATIONS), f"r{number}", raw, as_command)
