"""Owns the shapes of answers to commands and submissions, with an example of each.

Must say what is answered, member by member; it makes no answer.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from shared.commands.command import CommandType
from shared.http.problems import CONFLICT, Problem
from shared.http.routes import Answer
from shared.http.shapes import Count, PositionText, closed

Id = Annotated[str, Field(pattern="^[a-z]{3}_[0-9a-f]{32}$")]
_PREFIXES: Final = {"organisation": "org", "service": "svc", "dependency": "dep"}


@closed
class MadeEvent(TypedDict):
    """An event that a command led to; with dry_run it has no position."""

    type: str
    position: NotRequired[PositionText]


@closed
class Accepted(TypedDict):
    """What came of an accepted command; equal each time its key is repeated.

    `positions` are there when something was recorded, `slug` when something was registered.
    """

    id: Id
    version: NotRequired[Count]
    positions: NotRequired[PositionText]
    events: list[MadeEvent]
    slug: NotRequired[str]


@closed
class SubmissionRecord(TypedDict):
    """Where a rejected submission stands on its topic."""

    topic: str
    partition: Count
    offset: Count


@closed
class SubmissionResult(TypedDict):
    """What came of one submission; `rejected` is a problem."""

    source: str | None
    id: str | None
    status: Literal["accepted", "rejected", "pending", "unknown"]
    accepted: NotRequired[Accepted]
    rejected: NotRequired[dict[str, Any]]
    record: NotRequired[SubmissionRecord]


@closed
class SubmissionResults(TypedDict):
    """What came of each submission of a batch, in its order."""

    results: list[SubmissionResult]


def accepted(command: CommandType[Any]) -> Answer:
    """What a command answers once it is recorded."""
    answer = _planned(command) | {"version": 1 if command.creates else 8}
    event = {"type": command.leads_to, "position": "registry:123"}
    return _answer("Accepted", answer | {"positions": event["position"], "events": [event]})


def would_be(command: CommandType[Any]) -> Answer:
    """What a command that makes something answers with dry_run."""
    return _answer("What it would lead to, with dry_run", _planned(command))


def _answer(description: str, example: dict[str, Any]) -> Answer:
    return Answer(description, TypeAdapter(Accepted), example)


def _planned(command: CommandType[Any]) -> dict[str, Any]:
    prefix = _PREFIXES[command.leads_to.split(".")[1]]
    slug = {"slug": "whitehall"} if command.creates and prefix != "dep" else {}
    made = [{"type": command.leads_to}]
    return {"id": f"{prefix}_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f", "events": made, **slug}


_NAMED: Final = {"source": "my-department", "id": "2026-01-31/1"}
_DONE: Final = {
    "id": "svc_01890a5d7c3e7b0c9d3f2a1b4c5d6e7f",
    "version": 8,
    "positions": "registry:123",
    "events": [{"type": "estate.service.phase_changed.v1", "position": "registry:123"}],
}
SUBMITTED: Final = Answer(
    "Accepted, or one result for each event of a batch",
    TypeAdapter(Accepted | SubmissionResults),
    {
        "results": [
            {**_NAMED, "status": "accepted", "accepted": _DONE},
            {
                **_NAMED,
                "id": "2026-01-31/2",
                "status": "rejected",
                "rejected": Problem(CONFLICT).document(),
            },
        ]
    },
)
STATUS: Final = Answer(
    "Accepted, rejected, pending or unknown",
    TypeAdapter(SubmissionResult),
    {**_NAMED, "status": "accepted", "accepted": _DONE},
)
