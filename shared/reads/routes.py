"""Owns the form of a read route, and the one route that every service with a log has.

Must not hold a question about the estate.
"""

from typing import Annotated, Final

from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from shared.contracts.topics import events_topic
from shared.eventstore.reader import LogReader
from shared.http.routes import (
    AUTHENTICATED,
    PUBLIC_OR_AUTHENTICATED,
    Answer,
    Call,
    Handler,
    Reply,
    Route,
)
from shared.http.shapes import Count, closed
from shared.reads.reading import database_needed


@closed
class Head(TypedDict):
    """Where a log ends; halted: why it takes no more."""

    log: str
    timeline: Annotated[int, Field(ge=1)]
    position: Count
    root: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    publication: Annotated[int, Field(ge=1)]
    topic: str
    halted: str | None


_HEAD: Final = Answer(
    "The head",
    TypeAdapter(Head),
    {
        "log": "registry",
        "timeline": 1,
        "position": 123,
        "root": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "publication": 1,
        "topic": "estate.registry.events.1",
        "halted": None,
    },
)


def read_route(
    path: str,
    handler: Handler,
    operation_id: str,
    summary: str,
    query: type[BaseModel] | None,
    answer: Answer,
    *,
    public: Handler | None = None,
) -> Route:
    """A GET that every principal may ask; and everybody, of `public`, where that is allowed."""
    return Route(
        method="GET",
        path=path,
        handler=handler,
        allow=AUTHENTICATED if public is None else PUBLIC_OR_AUTHENTICATED,
        operation_id=operation_id,
        summary=summary,
        tag="Reads",
        query=query,
        public=public,
        answers={200: answer},
        problems=("not-known-then", "not-yet-visible") if query is not None else (),
    )


def log_route(reader: LogReader) -> Route:
    """Where the log ends, its root there, and the topic that it is published on."""

    async def log(_call: Call[None, None]) -> Reply:
        async with database_needed():
            head = await reader.head()
        return Reply(
            body={
                "log": head.log,
                "timeline": head.timeline,
                "position": head.position,
                "root": head.root.hex(),
                "publication": head.publication,
                "topic": events_topic(head.log, head.publication),
                "halted": head.halted,
            }
        )

    return read_route("/v1/log", log, "get_log", "Where the log ends, and its root", None, _HEAD)
