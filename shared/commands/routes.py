"""Owns the HTTP routes of commands and submissions, made from a service's table of commands.

Must not know any particular command.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from shared.auth.principals import Role
from shared.commands.answers import STATUS, SUBMITTED, accepted, would_be
from shared.commands.command import CommandType
from shared.commands.doors import (
    Doors,
    EmitterSource,
    HttpCommand,
    SubmissionId,
)
from shared.commands.failures import is_passing, problem_of
from shared.commands.reading import Instant
from shared.eventstore.types import Outcome, PendingCommand
from shared.eventstore.writer import LogWriter
from shared.http.problems import FORBIDDEN, INVALID_REQUEST, Fault, Problem
from shared.http.routes import Answer, Call, Reply, Route
from shared.messaging.submissions import Submissions, name_in
from shared.reads.reading import database_needed

MAX_BATCH: Final = 500
_SUBMITTERS: Final = frozenset({Role.EMITTER})
_MAX_NAME_CHARS: Final = 200
_BATCH_MAX_BYTES: Final = 4 * 1024 * 1024
_COMMAND_PROBLEMS: Final = (
    *("unknown-reference", "not-yours", "not-registered-then", "conflict", "key-reused"),
    *("stale-version", "overloaded", "not-ready", "outcome-unknown", "log-halted"),
    "clock-suspect",
)
_CLOUDEVENT: Final = "application/cloudevents+json"
_CLOUDEVENTS: Final = "application/cloudevents-batch+json"


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CommandQuery(_Query):
    """Query of a command."""

    dry_run: bool = Field(default=False, description="Decide and answer, but write nothing.")


class SubmissionQuery(_Query):
    """Which submission is asked for."""

    source: EmitterSource
    id: SubmissionId


def command_routes(doors: Doors, writer: LogWriter) -> Iterator[Route]:
    """One POST for each command."""
    for command in doors.commands.values():
        yield _command_route(command, doors, writer)


def _command_route(command: CommandType[Any], doors: Doors, writer: LogWriter) -> Route:
    body = create_model(
        f"{command.body.__name__}Command",
        __base__=command.body,
        __doc__=command.body.__doc__,
        effective_from=(Instant | None, Field(default=None, description="True from; else now.")),
    )

    async def handle(call: Call[Any, CommandQuery]) -> Reply:
        arrived = HttpCommand(
            body=call.body,
            tree=call.json if call.json is not None else {},
            target=next(iter(call.path.values()), None),
            effective_from=call.body.effective_from,
            idempotency_key=call.idempotency_key,
            if_match=call.if_match,
            correlation_id=call.correlation_id,
            dry_run=call.query.dry_run,
        )
        outcome = await _submit(writer, doors.from_http(command, call.caller, arrived))
        return _reply(outcome, 201 if command.creates and not arrived.dry_run else 200)

    return Route(
        method="POST",
        path=command.path,
        handler=handle,
        allow=command.allow,
        operation_id=command.name.removesuffix(".v1").split(".", 1)[1].replace(".", "_"),
        summary=command.summary,
        description=command.description or f"As a submission: `{command.name}`.",
        tag=command.tag,
        body=body,
        body_required=any(field.is_required() for field in body.model_fields.values()),
        query=CommandQuery,
        answers=_command_answers(command),
        problems=_COMMAND_PROBLEMS,
        examples={"example": dict(command.example)},
        takes_if_match=not command.creates,
    )


def _command_answers(command: CommandType[Any]) -> dict[int, Answer]:
    if not command.creates:
        return {200: accepted(command)}
    return {201: accepted(command), 200: would_be(command)}


def _reply(outcome: Outcome, status: int) -> Reply:
    headers = {"Idempotency-Replayed": "true"} if outcome.replayed else {}
    if "version" in outcome.answer:
        headers["ETag"] = f'"{outcome.answer["version"]}"'
    return Reply(status, outcome.answer, headers)


async def _submit(writer: LogWriter, command: PendingCommand) -> Outcome:
    try:
        return await writer.submit(command)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        raise problem from error


def submission_routes(
    doors: Doors, writer: LogWriter, submissions: Submissions
) -> tuple[Route, ...]:
    """The submissions door over HTTP, and the question what came of a submission."""

    async def submit(call: Call[Any, Any]) -> Reply:
        is_batch = isinstance(call.json, list)
        trees = call.json if is_batch else [call.json]
        if not 1 <= len(trees) <= MAX_BATCH:
            raise Problem(INVALID_REQUEST, f"A batch holds 1 to {MAX_BATCH} events.")
        places = [f"/{index}" for index in range(len(trees))] if is_batch else [""]
        results = await _settle(doors, writer, call, trees, places)
        await _keep_refused(submissions, call.caller.organisation, trees, results, places)
        if is_batch:
            return Reply(200, {"results": list(map(_result, trees, results))})
        (result,) = results
        if isinstance(result, Problem):
            raise result
        return _reply(result, 200)

    async def look_up(call: Call[Any, SubmissionQuery]) -> Reply:
        organisation = call.caller.organisation
        if organisation is None:
            raise Problem(FORBIDDEN, "Only its sender may ask what came of a submission.")
        async with database_needed():
            found = await submissions.status(organisation, call.query.source, call.query.id)
        answer: dict[str, Any] = {
            "source": call.query.source,
            "id": call.query.id,
            "status": found.state,
        }
        if found.answer is not None:
            answer["accepted"] = found.answer
        if found.problem is not None:
            answer["rejected"] = found.problem
        if found.record is not None:
            answer["record"] = found.record
        return Reply(200, answer)

    return (
        Route(
            method="POST",
            path="/v1/submissions",
            handler=submit,
            allow=_SUBMITTERS,
            operation_id="submit",
            summary="Submit one change, or up to 500, as CloudEvents",
            description=(
                "One event is accepted, or refused with a problem. Of a batch (a JSON array) each "
                "event is decided in order and on its own; `results` says what came of each. The "
                "same `source` and `id` never take effect twice, over HTTP or Kafka."
            ),
            tag="Submissions",
            body=TypeAdapter(dict[str, Any] | list[Any]),
            answers={200: SUBMITTED},
            problems=("unknown-command", *_COMMAND_PROBLEMS),
            examples={"one": _EXAMPLE},
            max_body_bytes=_BATCH_MAX_BYTES,
            media_types=(_CLOUDEVENT, _CLOUDEVENTS, "application/json"),
        ),
        Route(
            method="GET",
            path="/v1/submissions",
            handler=look_up,
            allow=_SUBMITTERS,
            operation_id="submission_status",
            summary="What came of a submission",
            description=(
                "Accepted, rejected, pending (it waits on the topic) or unknown. "
                "Only its sender may ask."
            ),
            tag="Submissions",
            query=SubmissionQuery,
            answers={200: STATUS},
        ),
    )


_EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "2026-01-31/1",
    "source": "my-department",
    "type": "estate.service.change_phase.v1",
    "subject": "my-department:licence-finder",
    "time": "2026-01-31T09:00:00Z",
    "data": {"phase": "live", "reason": "passed its live assessment"},
}


async def _settle(
    doors: Doors,
    writer: LogWriter,
    call: Call[Any, Any],
    trees: Sequence[Any],
    places: Sequence[str],
) -> list[Outcome | Problem]:
    """What came of each event, decided in order; `places` are where they stand in the request."""
    waiting = [
        _enqueued(doors, writer, call, tree, at) for tree, at in zip(trees, places, strict=True)
    ]
    results = []
    for answered in waiting:
        try:
            outcome = answered if isinstance(answered, Problem) else await asyncio.shield(answered)
        except Exception as error:  # noqa: BLE001 - what is no problem is raised again.
            outcome = _refused(error)
        results.append(outcome)
    return results


async def _keep_refused(
    submissions: Submissions,
    organisation: str | None,
    trees: Sequence[Any],
    results: Sequence[Outcome | Problem],
    places: Sequence[str],
) -> None:
    """Keep what was refused before anybody is told, as of submissions over Kafka."""
    refused = [
        (name_in(tree), _sent_alone(result, at).document())
        for tree, result, at in zip(trees, results, places, strict=True)
        if isinstance(result, Problem)
    ]
    if organisation is not None and refused:
        async with database_needed():
            await submissions.keep_refused(organisation, refused)


def _sent_alone(problem: Problem, at: str) -> Problem:
    """The problem with the places of its faults as if its event had not come in a batch."""
    errors = [Fault(one.pointer.removeprefix(at), one.detail) for one in problem.errors]
    return Problem(problem.kind, problem.detail, errors=errors, extra=problem.extra)


def _enqueued(
    doors: Doors, writer: LogWriter, call: Call[Any, Any], tree: Any, at: str
) -> "asyncio.Future[Outcome] | Problem":
    try:
        command = doors.from_submission(tree, call.caller, "http", call.correlation_id, at=at)
        return writer.enqueue(command)
    except Exception as error:  # noqa: BLE001 - what is no problem of the caller is raised again.
        return _refused(error)


def _refused(error: Exception) -> Problem:
    """The problem of one event; what may pass fails the whole batch, to be sent again as it is."""
    problem = problem_of(error)
    if problem is None:
        raise error
    if is_passing(error):
        raise problem from error
    return problem


def _result(tree: Any, outcome: Outcome | Problem) -> dict[str, Any]:
    named = tree if isinstance(tree, dict) else {}
    result = {"source": _told(named.get("source")), "id": _told(named.get("id"))}
    if isinstance(outcome, Problem):
        return {**result, "status": "rejected", "rejected": outcome.document()}
    return {**result, "status": "accepted", "accepted": outcome.answer}


def _told(name: Any) -> str | None:
    """A name as its sender wrote it, unless it is none."""
    return name if isinstance(name, str) and len(name) <= _MAX_NAME_CHARS else None
