"""Owns a stand-in for the three services: canned documents of their forms, at the network edge.

Must not hold a test, nor a rule of the estate.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from multidict import CIMultiDictProxy
from pydantic import BaseModel, ConfigDict, TypeAdapter

from shared.auth.principals import Principal, Role
from shared.http.problems import BAD_QUERY, NOT_FOUND, UNAUTHENTICATED, Fault, Problem
from shared.http.routing import AUTHENTICATED, Call, Reply, Route, ServiceInfo, build_app
from shared.http.server import serve
from shared.observability.health import Health
from shared.observability.metrics import RELAY_BACKLOG, Metrics

KEY = "estate_0a1b2c3d_" + "k" * 43
ORGANISATION = "org_" + "1" * 32
TEAM = "org_" + "2" * 32
PAGE = 2
HOSTILE = "Evil\x1b]0;owned\x07\x9b31m\u202e[red]name"
_INFO = ServiceInfo("registry", "Stand-in", "1.0.0", "Canned answers.")
_WHERE = {"positions": "registry:7", "lag_ms": 0}


class Query(BaseModel):
    """Any parameter that the services know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: str | None = None
    cursor: str | None = None
    as_of: str | None = None
    known_at: str | None = None
    owner: str | None = None
    organisation: str | None = None
    phase: str | None = None
    kind: str | None = None
    parent: str | None = None
    listed: str | None = None
    q: str | None = None
    depth: str | None = None
    after: str | None = None
    type: str | None = None
    service: str | None = None
    wait_s: str | None = None
    source: str | None = None
    id: str | None = None
    to: str | None = None


def service(slug: str, name: str, **more: Any) -> dict[str, Any]:
    """A service's document."""
    party = {"id": TEAM, "name": "Publishing team", "since": "2020-02-01T09:30:00.000000Z"}
    home = {**party, "id": ORGANISATION, "name": "Government Digital Service"}
    document = {
        "id": f"svc_{slug.encode().hex():0<32}"[:36],
        "slug": slug,
        "name": name,
        "kind": "component",
        "description": None,
        "phase": "live",
        "listed": True,
        "visibility": "internal",
        "organisation": home,
        "roles": {"owning-team": party},
        "successor": None,
        "aliases": [f"govuk-repos:{slug}"],
        "attributes": {"govuk-repos": {"production_hosted_on": "eks"}},
        "effective_from": "2021-03-04T05:06:00.000000Z",
        "position": "registry:7",
    }
    return {**document, **more}


SERVICES = [
    service("asset-manager", "Asset Manager"),
    service("collections-publisher", "Collections Publisher", roles={}, phase=None),
    service("evil", HOSTILE, organisation=None),
    service("frontend", "Frontend", listed=False),
    service("whitehall", "Whitehall"),
]
HISTORY = [
    {
        "position": "registry:5",
        "version": 1,
        "type": "estate.service.registered.v1",
        "effective_from": "2020-01-01T00:00:00.000000Z",
        "recorded_at": "2026-02-03T04:05:00.000000Z",
        "actor": "prn_1",
        "organisation": ORGANISATION,
        "credential_id": "key_1",
        "door": "http",
        "key": "k",
        "correlation_id": "c",
        "reason": "first mapping",
        "data": {"name": "Whitehall", "slug": "whitehall"},
    },
    {
        "position": "registry:7",
        "version": 2,
        "type": "estate.service.role_assigned.v1",
        "effective_from": "2020-02-01T09:30:00.000000Z",
        "recorded_at": "2020-02-01T09:30:11.000000Z",
        "actor": ORGANISATION,
        "organisation": ORGANISATION,
        "credential_id": "kafka",
        "door": "kafka",
        "key": "k",
        "correlation_id": "c",
        "reason": None,
        "data": {"role": "owning-team", "holder": TEAM, "previous_holder": None},
    },
]
ORGANISATIONS = [
    {
        "id": ORGANISATION,
        "slug": "government-digital-service",
        "name": "Government Digital Service",
        "kind": "other",
        "parent": None,
        "aliases": [],
    },
    {
        "id": TEAM,
        "slug": "publishing-team",
        "name": "Publishing team",
        "kind": "team",
        "parent": {"id": ORGANISATION, "name": "Government Digital Service"},
        "aliases": [],
    },
]
UPSTREAM: list[dict[str, Any]] = [
    {
        "depth": 1,
        "end": {"form": "service", "service": "svc_1", "name": "Publishing API"},
        "through": {
            "id": "dep_1",
            "from": {"form": "service", "service": "svc_9", "name": "Whitehall"},
            "to": {"form": "service", "service": "svc_1", "name": "Publishing API"},
            "kind": "uses-api",
            "criticality": "high",
        },
    },
    {
        "depth": 2,
        "end": {"form": "infrastructure", "service": None, "name": "postgres"},
        "through": {
            "id": "dep_2",
            "from": {"form": "service", "service": "svc_1", "name": "Publishing API"},
            "to": {"form": "infrastructure", "service": None, "name": "postgres"},
            "kind": "hosting",
            "criticality": None,
        },
    },
]
DEPENDENCIES = [
    {
        "id": "dep_3",
        "from": {"form": "service", "service": "svc_9", "name": "Whitehall"},
        "to": {"form": "infrastructure", "service": None, "name": "nginx-proxy"},
        "kind": "hosting",
        "criticality": None,
    },
    {**UPSTREAM[0]["through"], "to": {"form": "unresolved", "service": None, "name": "lost"}},
    {
        "id": "dep_4",
        "from": {"form": "service", "service": "svc_8", "name": "Frontend"},
        "to": {"form": "infrastructure", "service": None, "name": "nginx-proxy"},
        "kind": "hosting",
        "criticality": None,
    },
]
CHANGES = [
    {
        "cursor": str(number),
        "log": "registry",
        "position": entry["position"],
        "event": {
            "type": entry["type"],
            "subject": SERVICES[-1]["id"],
            "time": entry["effective_from"],
            "data": entry["data"],
        },
    }
    for number, entry in enumerate(HISTORY, start=1)
]
LOG = {
    "log": "registry",
    "timeline": 1,
    "position": 7,
    "publication": 1,
    "topic": "estate.registry.events.1",
    "root": "ab" * 32,
    "halted": None,
    "repairs": [],
}
SUMMARY = {
    "services": {"known": 5, "listed": 4, "delisted": 1, "no_owner": 1},
    "phases": {"live": 3, "unknown": 1},
    "organisations": [{"id": ORGANISATION, "name": "Government Digital Service", "services": 3}],
    "dependencies": 2,
    **_WHERE,
}
GAPS = {
    "no_owner": {"count": 1, "first": [{"id": "svc_1", "slug": "x-1", "name": "X"}]},
    **_WHERE,
}


class StandIn:
    """What it was asked, and what it is to say."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, Any]] = []
        self.batches: list[list[Any]] = []
        self.looked_up: dict[str, int] = {}
        self.is_ready = True

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal | None:
        """The caller, if it holds the one key."""
        if headers.get("Authorization") != f"Bearer {KEY}":
            raise Problem(UNAUTHENTICATED)
        return Principal("prn_1", "key_1", frozenset({Role.EMITTER}), ORGANISATION)

    def note(self, call: Call[Any, Query]) -> Query:
        """Keep what was asked."""
        self.queries.append(call.query.model_dump(exclude_none=True))
        if call.query.as_of == "nonsense":
            raise Problem(BAD_QUERY, errors=[Fault("/as_of", "is not an instant")])
        return call.query

    def page(self, items: list[Any]) -> Any:
        """A list of small pages, whatever the limit."""

        async def handle(call: Call[Any, Query]) -> Reply:
            query = self.note(call)
            asked = [one for one in items if query.to in {None, one.get("to", {}).get("name")}]
            start = int(query.cursor or 0)
            end = start + min(PAGE, int(query.limit or 50))
            after = str(end) if end < len(asked) else None
            return Reply(body={"items": asked[start:end], "next": after, **_WHERE})

        return handle

    def say(self, document: Any) -> Any:
        """Always the same document."""

        async def handle(call: Call[Any, Query]) -> Reply:
            self.note(call)
            return Reply(body=document)

        return handle

    def one_of(self, items: list[Any]) -> Any:
        """The one with that slug or id."""

        async def handle(call: Call[Any, Query]) -> Reply:
            self.note(call)
            asked = next(iter(call.path.values()))
            found = [one for one in items if asked in {one["id"], one["slug"], *one["aliases"]}]
            if not found:
                raise Problem(NOT_FOUND, "No service answers to this reference.")
            return Reply(body={**found[0], **_WHERE})

        return handle

    async def changes(self, call: Call[Any, Query]) -> Reply:
        """Return the change feed, one change an answer."""
        start = int(self.note(call).after or 0)
        items = CHANGES[start : start + 1]
        return Reply(body={"items": items, "next": str(start + len(items))})

    async def downstream(self, call: Call[Any, Query]) -> Reply:
        """Nothing depends on a service; what is none is not found."""
        self.note(call)
        if call.path["id"] not in {one["slug"] for one in SERVICES}:
            raise Problem(NOT_FOUND)
        return Reply(body={"items": [], **_WHERE})

    async def submit(self, call: Call[Any, Any]) -> Reply:
        """Accept what does not say that it is bad."""
        self.batches.append(call.json)
        return Reply(body={"results": [_decided(event) for event in call.json]})

    async def look_up(self, call: Call[Any, Query]) -> Reply:
        """Decide a submission when it is asked for the second time."""
        query = self.note(call)
        identity = str(query.id)
        times = self.looked_up[identity] = self.looked_up.get(identity, 0) + 1
        if times == 1 or identity == "never":
            return Reply(body={"source": query.source, "id": identity, "status": "pending"})
        event = {"source": query.source, "id": identity, "data": {"bad": identity == "bad"}}
        return Reply(body=_decided(event))

    def routes(self) -> list[Route]:
        """Every route of the three services that the command line uses."""
        answers = {
            "/v1/services": self.page(SERVICES),
            "/v1/services/{id}": self.one_of(SERVICES),
            "/v1/services/{id}/history": self.page(HISTORY),
            "/v1/services/{id}/upstream": self.say({"items": UPSTREAM, **_WHERE}),
            "/v1/services/{id}/downstream": self.downstream,
            "/v1/dependencies": self.page(DEPENDENCIES),
            "/v1/organisations": self.page(ORGANISATIONS),
            "/v1/organisations/{id}": self.one_of(ORGANISATIONS),
            "/v1/owners": self.say({"items": SUMMARY["organisations"], **_WHERE}),
            "/v1/summary": self.say(SUMMARY),
            "/v1/gaps": self.say(GAPS),
            "/v1/unresolved": self.say(
                {"count": 1, "items": [{"name": "a:b", "dependencies": ["dep_1"]}]}
            ),
            "/v1/log": self.say(LOG),
            "/v1/changes": self.changes,
            "/v1/submissions": self.look_up,
        }
        gets = [_route("GET", path, handler, query=Query) for path, handler in answers.items()]
        types = ("application/json", "application/cloudevents-batch+json")
        body: TypeAdapter[Any] = TypeAdapter(list[Any])
        post = _route("POST", "/v1/submissions", self.submit, body=body, media_types=types)
        return [*gets, post]

    async def health(self) -> Health:
        """Whether it says that it is ready."""
        return Health(self.is_ready, "" if self.is_ready else "no answer")


def _decided(event: dict[str, Any]) -> dict[str, Any]:
    named = {"source": event["source"], "id": event["id"]}
    if event["data"].get("bad"):
        errors = [{"pointer": "/data/name", "detail": "is missing"}]
        problem = {"title": "Not the form", "detail": "Look.", "errors": errors}
        record = {"topic": "submissions", "partition": 0, "offset": 6}
        return {**named, "status": "rejected", "rejected": problem, "record": record}
    return {**named, "status": "accepted", "accepted": {"positions": "registry:8"}}


def _route(method: str, path: str, handler: Any, **more: Any) -> Route:
    name = f"{method} {path}"
    return Route(
        method=method,
        path=path,
        handler=handler,
        allow=AUTHENTICATED,
        operation_id=name,
        summary=name,
        **more,
    )


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """Serve on a loop of its own, since a command runs one for itself."""
    stand_in = StandIn()
    ready, done = threading.Event(), threading.Event()

    async def run() -> None:
        metrics = Metrics("registry", "1.0.0")
        metrics.gauge(RELAY_BACKLOG).set(3)
        app = build_app(
            stand_in.routes(),
            authenticator=stand_in,
            info=_INFO,
            checks={"database": stand_in.health},
            metrics=metrics,
        )
        async with serve(app, "127.0.0.1", 0) as running:
            stand_in.url = running.url
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield stand_in
    finally:
        done.set()
        thread.join(10)
