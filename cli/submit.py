"""Owns the command that sends changes, and how it tells what came of them.

Must not decide anything about a change.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.asking import run, segment, service
from cli.connection import SENDER_ROLES, Connection, connect
from cli.failures import ANSWER_IS_NO, Failure, WrongUse, ended_by, faults
from cli.options import DEFAULT_STATE, Json, KeyFile, State
from cli.submission_doors import (
    Result,
    Tally,
    await_decisions,
    send_over_http,
    send_over_kafka,
)
from cli.submission_file import Outgoing, read_submissions
from cli.terminal import cell, plain, show, show_json, table
from shared.auth.keys import KeysUnavailable, list_keys
from shared.clock import SystemClock
from shared.contracts.names import is_id

_SHOWN_ACCEPTED: Final = 50
_ORDER: Final = ("registry", "dependencies")
_COLOURS: Final = {"accepted": "green", "rejected": "red", "pending": "yellow"}
_SEND_DEADLINE_S: Final = 60.0


class Door(StrEnum):
    """The way a submission takes."""

    HTTP = "http"
    KAFKA = "kafka"


class Taker(StrEnum):
    """A service that takes submissions."""

    REGISTRY = "registry"
    DEPENDENCIES = "dependencies"


@dataclass(frozen=True, slots=True)
class _Sending:
    connection: Connection
    door: Door
    taker: Taker | None
    organisation: str | None
    patience_s: float
    tally: Tally


def submit(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A CloudEvent, an array, or one a line; - is stdin."),
    ],
    door: Annotated[Door, typer.Option(help="The way to send it.")],
    taker: Annotated[
        Taker | None, typer.Option("--service", help="Who takes it; else told by each type.")
    ] = None,
    organisation: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Over Kafka: whose topic; else told by the key."),
    ] = None,
    wait_s: Annotated[
        float, typer.Option(min=1, help="Over Kafka: how long to wait for the next decision.")
    ] = 60.0,
    kafka_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Over Kafka: JSON of `keys issue --kafka`."),
    ] = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Send changes. Sending the same file again does no harm: source and id tell a repeat."""
    try:
        submissions = read_submissions(file)
        connection = connect(state, key_file, kafka_file)
    except Failure as failure:
        raise ended_by(failure) from None
    with _progress() as progress:
        task = progress.add_task("Decided", total=len(submissions))
        tally = Tally(lambda _result: progress.advance(task))
        sending = _Sending(connection, door, taker, organisation, wait_s, tally)
        ended = _ended_early(sending, submissions)
    results = sorted(tally.results, key=lambda result: result.sent.number)
    if results:
        _report(results, len(submissions), as_json=as_json)
    if ended is not None:
        raise ended
    if any(result.status != "accepted" for result in results):
        raise typer.Exit(ANSWER_IS_NO)


def _ended_early(sending: _Sending, submissions: Sequence[Outgoing]) -> typer.Exit | None:
    """Send; a failure is said here, but what was decided before it is still to be shown."""
    try:
        run(_send(sending, submissions))
    except typer.Exit as ended:
        return ended
    return None


def _progress() -> Progress:
    console = Console(file=sys.stderr)
    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(
        *parts,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )


async def _send(sending: _Sending, submissions: Sequence[Outgoing]) -> None:
    """Send what is for the registry first, so that dependencies find their services."""
    for name in _ORDER:
        mine = [one for one in submissions if (sending.taker or one.service) == name]
        if mine:
            await _send_to(name, sending, mine)


async def _send_to(name: str, sending: _Sending, submissions: Sequence[Outgoing]) -> None:
    connection, tally = sending.connection, sending.tally
    connection.required_key(SENDER_ROLES)
    async with service(
        connection, name, roles=SENDER_ROLES, deadline_s=_SEND_DEADLINE_S
    ) as answering:
        if sending.door is Door.HTTP:
            await send_over_http(answering, submissions, tally)
            return
        organisation = await organisation_id(connection, sending.organisation)
        address = connection.kafka_to_send()
        placed, refused = await send_over_kafka(address, organisation, name, submissions)
        for result in refused:
            tally.add(result)
        await await_decisions(answering, placed, tally, SystemClock(), sending.patience_s)


async def organisation_id(connection: Connection, reference: str | None) -> str:
    """The id of the organisation named, else of the one that the key acts for.

    Raises: WrongUse when neither tells.
    """
    if reference is None:
        return _organisation_of_key(connection)
    if is_id(reference, "org"):
        return reference
    async with service(connection, "registry") as registry:
        answer = await registry.document(f"/v1/organisations/{segment(reference)}", {})
    return str(answer.get("id"))


def _organisation_of_key(connection: Connection) -> str:
    prefix = connection.required_key(SENDER_ROLES).split("_")[1:2]
    try:
        records = list_keys(connection.keys_file())
    except (KeysUnavailable, OSError):
        records = ()
    for record in records:
        if [record.prefix] == prefix and record.organisation is not None:
            return record.organisation
    raise WrongUse(
        "It is not known which organisation the key acts for.", "Name it with --organisation."
    )


def _report(results: Sequence[Result], total: int, *, as_json: bool) -> None:
    counts = {
        status: sum(result.status == status for result in results)
        for status in ("accepted", "rejected", "pending")
    }
    if as_json:
        show_json({"results": [_document(result) for result in results], **counts})
        return
    rows = table("#", "Submission", "Type", "Outcome", "Why, or where")
    few = len(results) <= _SHOWN_ACCEPTED
    shown = [result for result in results if few or result.status != "accepted"]
    for result in shown:
        rows.add_row(
            cell(result.sent.number),
            cell(f"{result.sent.source} {result.sent.id}"),
            cell(result.sent.type.removeprefix("estate.")),
            cell(result.status, _COLOURS.get(result.status, "")),
            cell(_why(result)),
        )
    if shown:
        show(rows)
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    show(cell(f"{told or 'nothing decided'} of {total}", "dim"))


def _document(result: Result) -> dict[str, Any]:
    outcome = {"accepted": result.accepted, "rejected": result.rejected}
    return {
        "source": result.sent.source,
        "id": result.sent.id,
        "status": result.status,
        **{name: value for name, value in outcome.items() if value is not None},
    }


def _why(result: Result) -> str:
    match result:
        case Result(rejected=Mapping() as problem):
            return " · ".join([plain(problem.get("title")), *map(plain, faults(problem))])
        case Result(accepted=Mapping() as accepted):
            return plain(accepted.get("positions"))
        case Result(status="pending"):
            return "not decided in time; ask again by sending it again"
        case _:
            return ""
