"""Owns the routes of a small service that uses every feature of the HTTP edge.

Must not hold a test.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import BaseModel, ConfigDict, Field

from shared.auth.principals import Principal, Role
from shared.http.paging import DEFAULT_LIMIT, Cursor, Limit
from shared.http.problems import CONFLICT, UNAUTHENTICATED, Problem
from shared.http.routing import (
    ANYONE,
    AUTHENTICATED,
    Answer,
    Call,
    Reply,
    Route,
    ServiceInfo,
)
from shared.http.times import AsOf, KnownAtParameter

EMITTER = Principal("emitter-1", "key_1", frozenset({Role.EMITTER}), "org_1")
AUDITOR = Principal("auditor-1", "key_2", frozenset({Role.AUDITOR}))
KEYS = {"Bearer emit": EMITTER, "Bearer audit": AUDITOR}
INFO = ServiceInfo("sample", "Sample service", "1.2.3", "A service to test the edge with.")


class Register(BaseModel):
    """Register a thing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=200, description="What people call it.")]
    kind: Literal["service", "component"] = "service"
    count: int = 0
    tags: tuple[str, ...] = ()


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: str | None = None


class ListQuery(BaseModel):
    """Parameters of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None
    as_of: AsOf | None = None
    known_at: KnownAtParameter | None = None
    dry_run: bool = False


class Thing(BaseModel):
    """A thing."""

    id: str
    name: str


class FakeAuthenticator:
    """Knows two keys; the real authenticator has its own tests."""

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal | None:
        """The caller of a known key."""
        value = headers.get("Authorization")
        if value is None:
            return None
        if value not in KEYS:
            raise Problem(UNAUTHENTICATED)
        return KEYS[value]


@dataclass
class Seen:
    """What the handlers were handed."""

    calls: list[Call]
    release: asyncio.Event


async def _list(call: Call[None, ListQuery]) -> Reply:
    query = call.query
    document: dict[str, Any] = {
        "limit": query.limit,
        "as_of": query.as_of,
        "dry_run": query.dry_run,
    }
    if query.known_at is not None:
        document["known_at"] = {**query.known_at.positions}
    return Reply(body=document)


def sample_routes(seen: Seen) -> list[Route]:  # noqa: C901 - one route for each feature.
    """Routes that use every feature; handlers note their calls in `seen`."""

    async def register(call: Call[Register]) -> Reply:
        seen.calls.append(call)
        return Reply(201, {"name": call.body.name}, {"ETag": '"1"'})

    async def retire(call: Call[Reason]) -> Reply:
        seen.calls.append(call)
        return Reply(200, {"reason": call.body.reason, "if_match": call.if_match})

    async def show(call: Call) -> Reply:
        return Reply(body=Thing(id=call.path["id"], name="x"))

    async def crash(_call: Call) -> Reply:
        raise KeyError("secret detail")

    async def slow(_call: Call) -> Reply:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return Reply()

    async def lost(_call: Call) -> Reply:
        raise ConnectionRefusedError("the database")

    async def waiting(_call: Call) -> Reply:
        await seen.release.wait()
        return Reply(body={"done": True})

    async def conflict(_call: Call) -> Reply:
        raise Problem(CONFLICT, "It is retired.", extra={"positions": "registry:5"})

    async def header(_call: Call) -> Reply:
        return Reply(headers={"X-Bad": "a\r\nb"})

    async def stream(call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(call.request)
        await response.write(b"data: 1\n\n")
        return response

    async def broken_stream(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.request)
        await response.write(b"begun")
        raise KeyError("too late")

    roles = frozenset({Role.EMITTER, Role.ADMIN})

    def get(path: str, handler: Any, name: str, **more: Any) -> Route:
        settings = {"allow": AUTHENTICATED, "summary": name.capitalize(), **more}
        return Route(method="GET", path=path, handler=handler, operation_id=name, **settings)

    return [
        Route(
            method="POST",
            path="/v1/things",
            handler=register,
            allow=roles,
            operation_id="register_thing",
            summary="Register a thing",
            description="Registers a thing, once.\n\nUse `kind` wisely.",
            tag="Things",
            body=Register,
            answers={201: Answer("Registered", Thing, {"id": "thg_1", "name": "Maps"})},
            problems=("conflict", "key-reused"),
            examples={"a_service": {"name": "Apply for a licence", "kind": "service"}},
            requires_idempotency_key=True,
        ),
        Route(
            method="POST",
            path="/v1/things/{id}/retire",
            handler=retire,
            allow=roles,
            operation_id="retire_thing",
            summary="Retire a thing",
            tag="Things",
            body=Reason,
            body_required=False,
            takes_if_match=True,
            media_types=("application/json", "application/cloudevents+json"),
        ),
        get("/v1/things/{id}", show, "show_thing", tag="Things", answers={200: Thing}),
        get("/v1/things", _list, "list_things", tag="Things", query=ListQuery),
        get("/v1/things/lost", conflict, "lost_things", tag="Things"),
        get("/v1/crash", crash, "crash", allow=ANYONE),
        get("/v1/slow", slow, "slow"),
        get("/v1/lost", lost, "lost"),
        Route(
            method="POST",
            path="/v1/lost",
            handler=lost,
            allow=roles,
            operation_id="lose",
            summary="Lose",
        ),
        get("/v1/waiting", waiting, "waiting", allow=ANYONE),
        get("/v1/header", header, "header"),
        get("/v1/stream", stream, "stream", stream=True),
        get("/v1/broken-stream", broken_stream, "broken_stream", stream=True),
    ]
