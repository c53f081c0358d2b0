"""Owns what auditors and operators run: verify, replay, rebuild.

Must not change the log; a rebuild changes only which generation of a read model serves.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.connection import Connection, connect
from cli.failures import ANSWER_IS_NO, Failure, WrongUse, tell_of_kafka_once
from cli.options import DEFAULT_STATE, Json, State
from cli.replaying import PROJECTIONS, ReplayReport, rebuild_model, replay_model
from cli.terminal import say, show, show_json
from cli.verifying import verify_logs
from shared.audit.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from shared.audit.postgres_source import SourceUnreadableError
from shared.audit.report import report_json, report_table
from shared.messaging.kafka import KafkaSettings, KafkaUnreachableError
from shared.observability.logs import configure_logging
from shared.projections.feed import FeedStoppedError, FeedUnavailableError
from shared.projections.folding import ProjectionStoppedError

Against = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A checkpoint that you kept; catches a rewrite of it all."),
]
Topic = Annotated[bool, typer.Option("--topic/--no-topic", help="Compare with Kafka too.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help=f"One of {', '.join(PROJECTIONS)}.")]
Source = Annotated[str, typer.Option("--from", metavar="log|topic", help="What to read from.")]
Until = Annotated[
    str | None,
    typer.Option("--to", metavar="WHEN", help="Positions such as registry:1000, or a time."),
]
_START: Final = "See what `estate status` says; start a local run with `make demo`."
_START_OR_WITHOUT: Final = f"{_START} With --no-topic Kafka is left out."


def verify(
    *,
    json: Json = False,
    against: Against = None,
    topic: Topic = True,
    state: State = DEFAULT_STATE,
) -> None:
    """Recompute every log from its rows and its topic; exit 1 naming the first fault."""
    tell_of_kafka_once()
    connection = connect(state)
    checkpoint = _checkpoint(against)
    kafka = KafkaSettings(**connection.kafka().model_dump()) if topic else None
    databases = _databases(state)
    with _bar(hidden=json) as bar:
        task = bar.add_task("", total=None)

        def watch(log: str, what: str, position: int, last: int) -> None:
            bar.update(task, description=f"{log} {what}", completed=position, total=last)

        try:
            reports = asyncio.run(
                verify_logs(databases, kafka, against=checkpoint, on_progress=watch)
            )
        except KafkaUnreachableError as error:
            raise Failure(_kafka_away(connection, error), _START_OR_WITHOUT) from error
        except (SourceUnreadableError, CheckpointError) as error:
            raise Failure(str(error), _START) from error
    document = report_json(reports)
    if json:
        show_json(document)
    else:
        show(report_table(reports))
    raise typer.Exit(0 if document["ok"] else ANSWER_IS_NO)


def replay(
    model: Model = "estate",
    *,
    source: Source = "log",
    to: Until = None,
    json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Build a read model anew beside the one that serves, and compare them row for row."""
    _check(model, source)
    kafka = KafkaSettings(**connect(state).kafka().model_dump())
    with _bar(hidden=json) as bar:
        task = bar.add_task(f"{model} from {source}", total=None)

        def watch(done: int, total: int, _eta_s: float | None) -> None:
            bar.update(task, completed=done, total=total)

        report = _run(
            lambda: asyncio.run(replay_model(model, source, _databases(state), kafka, to, watch))
        )
    if json:
        show_json(asdict(report))
    else:
        _say_replay(report)
    raise typer.Exit(0 if report.same is not False else ANSWER_IS_NO)


def rebuild(model: Model = "estate", *, json: Json = False, state: State = DEFAULT_STATE) -> None:
    """Build a read model's next generation while the present one serves, then let it serve."""
    _check(model, "log")
    kafka = KafkaSettings(**connect(state).kafka().model_dump())
    with _bar(hidden=json) as bar:
        task = bar.add_task(f"rebuild {model}", total=None)

        def watch(done: int, total: int, _eta_s: float | None) -> None:
            bar.update(task, completed=done, total=total)

        generation = _run(
            lambda: asyncio.run(rebuild_model(model, _databases(state), kafka, watch))
        )
    if json:
        show_json({"model": model, "generation": generation})
    else:
        say(f"Generation {generation} of {model} serves now.")


def _run(action: Any) -> Any:
    configure_logging("estate", "WARNING")
    tell_of_kafka_once()
    try:
        return action()
    except (FeedUnavailableError, KafkaUnreachableError, OSError) as error:
        raise Failure(f"A source cannot be read: {error}", "See `estate status`.") from error
    except ValueError as error:
        raise WrongUse(f"--to: {error}") from error
    except (FeedStoppedError, ProjectionStoppedError) as error:
        raise Failure(f"Stopped: {error}", "See docs/runbooks/projection-stopped.md.") from error


def _kafka_away(connection: Connection, error: KafkaUnreachableError) -> str:
    return f"Kafka does not answer at {connection.kafka().bootstrap}: {error}."


def _say_replay(report: ReplayReport) -> None:
    where = ", ".join(report.positions)
    if report.same is None:
        say(f"Built {report.schema} at {where}; nothing serves at these positions to compare.")
    elif report.same:
        say(f"Equal, row for row, at {where}: {report.rows} rows in {report.tables} tables.")
    else:
        say(f"{len(report.differences)} rows differ at {where}:")
        for difference in report.differences[:20]:
            say(f"  {difference}")


def _checkpoint(path: Path | None) -> Checkpoint | None:
    if path is None:
        return None
    try:
        return read_checkpoint(path)
    except (CheckpointError, OSError) as error:
        raise WrongUse(f"{path} is no checkpoint: {error}") from error


def _check(model: str, source: str) -> None:
    if model not in PROJECTIONS:
        raise WrongUse(f"There is no read model {model!r}.", f"Say {', '.join(PROJECTIONS)}.")
    if source not in {"log", "topic"}:
        raise WrongUse("A read model is replayed from the log or from the topic.")


class _Databases(dict[str, str]):
    """Addresses by service; asking for one that is not known tells how to give it."""

    def __missing__(self, service: str) -> str:
        raise WrongUse(
            f"The database of {service} is not known.",
            f"Set {service.upper()}_DATABASE_DSN, or point --state at the folder of a local run.",
        )


def _databases(state: Path) -> Mapping[str, str]:
    connection = connect(state)
    databases = connection.config.databases or connection.addresses.databases
    if not databases:
        raise WrongUse(
            "No database is known to read the logs from.",
            "Start a local run with `make demo`, point --state at the folder of one, or set "
            "REGISTRY_DATABASE_DSN and DEPENDENCIES_DATABASE_DSN.",
        )
    return _Databases(databases)


def _bar(*, hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
        disable=hidden,
    )
