"""Owns `estate demo`: run, import, ask, verify, show what to try next.

Must not compute a figure; those come from the services.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from cli.demo.held_history import note_history, require_same_history
from cli.demo.importing import Target, import_all, require_complete
from cli.demo.questions import Clients, ask_everything, await_caught_up
from cli.demo.sending import ImportRefusedError
from cli.demo.shown import CHECKPOINT_NAME, show_answers, show_next_steps
from cli.demo.sources import DEFAULT_SOURCE, Plan, read_plan
from cli.failures import ANSWER_IS_NO, Failure, WrongUse
from cli.importing.source_rows import RowContradictsHistoryError, SourceLineError
from cli.local_estate import LocalEstate, write_private
from cli.options import DEFAULT_STATE, Json, State
from cli.running import shown_estate, until_interrupted
from cli.terminal import show_json
from cli.verifying import verify_and_keep
from shared.audit.checkpoint import CheckpointError
from shared.audit.report import report_json
from shared.clock import SystemClock
from shared.http.client import ApiClient, ApiError, ApiUnreachable

Source = Annotated[
    Path, typer.Option(metavar="DIR", help="A folder with files of the same form as data/.")
]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE")]
Rate = Annotated[
    float | None, typer.Option(min=0.1, metavar="N", help="Submissions a second; else full speed.")
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Write every figure as JSON.")]
Exit = Annotated[bool, typer.Option("--exit", help="End after the report instead of at Ctrl-C.")]
First = Annotated[
    bool, typer.Option("--dependencies-first", help="Import them before the services they name.")
]

_KEPT: Final = "Keep that file elsewhere if it is yours, and remove it; the demo makes another."


def readable_plan(source: Path, until: datetime | None) -> Plan:
    """Read the histories up to the end of a day.

    Raises: WrongUse naming the line that cannot be read.
    """
    try:
        plan = read_plan(source, until and until.date())
    except (SourceLineError, RowContradictsHistoryError, OSError) as error:
        raise WrongUse(str(error), "See data/README.md for the form of the files.") from error
    if not plan.repos.rows:
        raise WrongUse("There is nothing to import up to that day.", "Choose a later --until.")
    return plan


@dataclass(frozen=True, slots=True)
class _Wanted:
    plan: Plan
    source: Path
    state: Path
    as_of: date | None
    rate: float | None
    report: Path | None
    leave: bool
    dependencies_first: bool
    as_json: bool


def demo(
    *,
    source: Source = DEFAULT_SOURCE,
    until: Day = None,
    as_of: Day = None,
    rate: Rate = None,
    report: Report = None,
    leave: Exit = False,
    dependencies_first: First = False,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Run an estate, import ten years of GOV.UK's applications, and ask about them.

    A second run on the same state resumes it and makes no new event.
    """
    plan = readable_plan(source, until)
    require_same_history(state, plan, source)
    day = as_of and as_of.date()
    wanted = _Wanted(plan, source, state, day, rate, report, leave, dependencies_first, as_json)
    try:
        ok = asyncio.run(_demo(wanted))
    except CheckpointError as error:
        path = state / CHECKPOINT_NAME
        raise Failure(f"{path} cannot be held against the logs: {error}", _KEPT) from error
    except (ImportRefusedError, ApiError, ApiUnreachable) as error:
        raise Failure(str(error), f"See {state / 'logs'}.") from error
    raise typer.Exit(0 if ok else ANSWER_IS_NO)


async def _demo(wanted: _Wanted) -> bool:
    console = Console(stderr=True)
    async with shown_estate(wanted.state, console) as estate:
        await _import(estate, wanted, console)
        with console.status("Asking"):
            figures = await _ask(estate, wanted)
            for source in (wanted.plan.repos, wanted.plan.docker):
                if figures["sources"][source.name]["events"] != source.submissions:
                    await require_complete(estate, source)
        if not wanted.as_json:
            show_answers(figures, wanted.plan)
        with console.status("Verifying every log from its rows and its topic"):
            figures |= await _verify(estate)
        if wanted.as_json:
            show_json(figures)
        if wanted.report is not None:
            _write_report(wanted.report, figures)
        if not wanted.as_json:
            show_next_steps(estate, figures)
        if not wanted.leave:
            console.print("\nIt keeps running. Press Ctrl-C to stop.")
            await until_interrupted()
    return bool(figures["verify"]["ok"])


async def _import(estate: LocalEstate, wanted: _Wanted, console: Console) -> None:
    note_history(estate.state_dir, wanted.plan, wanted.source)
    await shown_import(
        estate,
        wanted.plan,
        console,
        rate=wanted.rate,
        dependencies_first=wanted.dependencies_first,
    )


async def shown_import(
    target: Target, plan: Plan, console: Console, *, rate: float | None, dependencies_first: bool
) -> None:
    """Import with a progress bar for each source."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {
            source.name: bars.add_task(f"Import {source.name}", total=source.submissions)
            for source in (plan.repos, plan.docker)
        }

        def advance(name: str, count: int) -> None:
            bars.advance(tasks[name], count)

        await import_all(
            target,
            plan,
            rate=rate,
            dependencies_first=dependencies_first,
            on_advance=advance,
        )


async def _ask(estate: LocalEstate, wanted: _Wanted) -> dict[str, Any]:
    operator = estate.keys["operator"]
    async with AsyncExitStack() as stack:
        clients = Clients(
            *[
                await stack.enter_async_context(ApiClient(process.url, operator, deadline_s=120))
                for process in estate.services.values()
            ]
        )
        await await_caught_up(clients)
        return await ask_everything(clients, wanted.plan, wanted.as_of, SystemClock())


async def _verify(estate: LocalEstate) -> dict[str, Any]:
    databases = {name: access.app_dsn for name, access in estate.databases.items()}
    path = estate.state_dir / CHECKPOINT_NAME
    document = report_json(await verify_and_keep(path, databases, estate.kafka, SystemClock()))
    return {
        "logs": {
            one["log"]: {"position": one["position"], "root": one["root"]}
            for one in document["logs"]
        },
        "verify": document,
        "checkpoint": str(path) if document["ok"] else None,
    }


def _write_report(path: Path, figures: dict[str, Any]) -> None:
    write_private(path, orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
