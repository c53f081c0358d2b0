"""Owns the form of a read route, and the one route that every service with a log has.

Must not hold a question about the estate.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from shared.clock import format_instant
from shared.contracts.names import Position
from shared.contracts.topics import events_topic
from shared.eventstore.reader import LogReader, LogRepair
from shared.http.routes import (
    AUTHENTICATED,
    PUBLIC_OR_AUTHENTICATED,
    Answer,
    Call,
    Handler,
    Reply,
    Route,
)
from shared.http.shapes import Count, Instant, PositionText, closed
from shared.reads.reading import database_needed


@closed
class Repair(TypedDict):
    """What an operator did to the log as a whole; lifted: the halt that it ended."""

    act: Literal["lift-halt", "new-publication", "new-timeline"]
    by: str
    reason: str
    lifted: str | None
    position: PositionText
    publication: Annotated[int, Field(ge=1)]
    at: Instant


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
    repairs: list[Repair]


_HEAD: Final = Answer(
    "The head",
    TypeAdapter(Head),
    {
        "log": "registry",
        "timeline": 1,
        "position": 123,
        "root": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "publication": 2,
        "topic": "estate.registry.events.2",
        "halted": None,
        "repairs": [
            {
                "act": "new-publication",
                "by": "operator-7",
                "reason": "The topic was deleted by mistake.",
                "lifted": None,
                "position": "registry:120",
                "publication": 2,
                "at": "2026-01-31T09:30:00.123456Z",
            }
        ],
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
            head, repairs = await reader.head(), await reader.repairs()
        return Reply(
            body={
                "log": head.log,
                "timeline": head.timeline,
                "position": head.position,
                "root": head.root.hex(),
                "publication": head.publication,
                "topic": events_topic(head.log, head.publication),
                "halted": head.halted,
                "repairs": [_repair(head.log, one) for one in repairs],
            }
        )

    return read_route("/v1/log", log, "get_log", "Where the log ends, and its root", None, _HEAD)


def _repair(log: str, repair: LogRepair) -> dict[str, Any]:
    return {
        "act": repair.act,
        "by": repair.done_by,
        "reason": repair.reason,
        "lifted": repair.lifted,
        "position": str(Position(log, repair.position, repair.timeline)),
        "publication": repair.publication,
        "at": format_instant(repair.done_at),
    }
