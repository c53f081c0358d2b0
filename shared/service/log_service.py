"""Owns putting together a service that has a log: writer, relay, intake, projection, HTTP.

Must not know an estate rule; a service hands in its commands, categories, projection and routes.
"""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiohttp import web

from shared.auth.authenticator import CredentialAuthenticator
from shared.auth.jwks import JwksCache, jwks_from_file, jwks_from_url
from shared.auth.keys import KeyFile
from shared.auth.tokens import TokenConfig, TokenVerifier
from shared.clock import Clock, IdSource
from shared.commands.command import CommandType
from shared.commands.doors import Doors, kafka_principal
from shared.commands.failures import problem_of
from shared.commands.routes import command_routes, submission_routes
from shared.database.migrate import Migration, find_migrations
from shared.database.sessions import session_settings
from shared.eventstore.reader import HeadSignal, LogReader, check_log
from shared.eventstore.types import Category, CommandRefusedError, LookUp, PendingCommand
from shared.eventstore.writer import BatchDone, LogWriter
from shared.http.openapi import ServiceInfo
from shared.http.problems import INVALID_REQUEST, MALFORMED_JSON, Fault, Problem
from shared.http.routes import Route
from shared.http.routing import build_app
from shared.http.strict_json import BadJson, BadText, parse_json
from shared.messaging.intake import Intake
from shared.messaging.lane import explain_plainly
from shared.messaging.rejections import RejectionPublisher
from shared.messaging.relay import Relay
from shared.messaging.submissions import Headers, Refusal, Submissions
from shared.messaging.topic_feed import TopicFeed
from shared.observability.metrics import Metrics
from shared.projections.feed import Feed
from shared.projections.generations import Generation
from shared.projections.log_feed import LogFeed
from shared.projections.projection import Projection
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.runner import ProjectionRunner
from shared.reads.reading import Reads
from shared.service.components import Component, OwnLog, PoolComponent, make_pool, running
from shared.service.config import EstateSettings
from shared.service.gauges import Gauges, LogMeters, watch_log, watch_runner
from shared.service.readiness import (
    database_ready,
    intake_ready,
    projection_ready,
    relay_ready,
)

VERSION: Final = "0.1.0"
_SHARED: Final = Path(__file__).parents[1]
WRITER_TRANSACTION_S: Final = 15.0
"""For how long a process that is frozen can keep the gate from the others."""

MIGRATIONS: Final[Sequence[Migration]] = tuple(
    migration
    for component in ("eventstore", "messaging", "projections")
    for migration in find_migrations(component, _SHARED / component / "migrations")
)
"""What every service's database needs; read models make their own tables per generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogServiceParts:
    """What one service brings."""

    info: ServiceInfo
    commands: Sequence[CommandType[Any]]
    categories: Mapping[str, Category[Any]]
    projection: Projection
    organisations: Callable[[ReadModels], Awaitable[Collection[str]]]
    routes: Callable[[Reads, LogReader], Sequence[Route]]
    look_up: Callable[[ReadModels], LookUp] | None = None


@dataclass(frozen=True, slots=True)
class BuiltService:
    """A service ready to run, or to rebuild its read model."""

    app: web.Application
    components: Sequence[Component]
    rebuild: Callable[[], Awaitable[Generation]]


def make_authenticator(settings: EstateSettings, clock: Clock) -> CredentialAuthenticator:
    """Keys from the key file and, where an issuer is configured, tokens."""
    keys = KeyFile(settings.keys_file, clock)
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        return CredentialAuthenticator(keys)
    if settings.jwks_file is not None:
        fetch = jwks_from_file(settings.jwks_file)
    else:
        fetch = jwks_from_url(settings.jwks_url or "")
    config = TokenConfig(settings.jwt_issuer, settings.jwt_audience)
    return CredentialAuthenticator(keys, TokenVerifier(config, JwksCache(fetch, clock), clock))


def make_holder() -> str:
    """A name for this process among those that compete for a lease."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def build_log_service(
    parts: LogServiceParts,
    settings: EstateSettings,
    database_dsn: str,
    clock: Clock,
    new_id: IdSource,
) -> BuiltService:
    """Put the service together; nothing connects before its parts are started."""
    name, kafka, holder = parts.info.name, settings.kafka(), make_holder()
    pool = make_pool(database_dsn, name)
    reader, signal = LogReader(pool, name), HeadSignal()
    models = ReadModels(database_dsn, parts.projection, clock)
    doors = Doors(parts.commands, clock, new_id)
    meters = LogMeters(Metrics(name, VERSION))

    def on_batch(done: BatchDone) -> None:
        signal.announce(done.position)
        meters.count(done)

    writer = LogWriter(
        _writer_connection(database_dsn, name),
        parts.categories,
        clock,
        new_id,
        look_up=None if parts.look_up is None else parts.look_up(models),
        on_batch=on_batch,
    )

    def open_feed(log: str) -> Feed:
        if log == name:
            return LogFeed(reader, signal)
        return TopicFeed(log, kafka, clock)

    async def organisations() -> Collection[str]:
        return await parts.organisations(models)

    async def rebuild_model() -> Generation:
        async with running((PoolComponent(pool), models)):
            return await rebuild(parts.projection, open_feed, models, clock)

    runner = ProjectionRunner(parts.projection, open_feed, models, clock)
    relay = Relay(reader, pool, kafka, signal, clock, holder=holder)
    intake = Intake(
        name,
        writer,
        pool,
        kafka,
        clock,
        _record_reader(doors, new_id),
        organisations,
        holder=holder,
        explain=_explain,
    )
    rejections = RejectionPublisher(name, pool, kafka, clock, holder=holder)
    authenticator = make_authenticator(settings, clock)
    secret = settings.cursor_secret.get_secret_value().encode()
    app = build_app(
        (
            *command_routes(doors, writer),
            *submission_routes(doors, writer, Submissions(pool, is_behind=intake.is_behind)),
            *parts.routes(Reads(models, clock, secret, reader), reader),
        ),
        authenticator=authenticator,
        info=parts.info,
        public_reads=settings.public_reads,
        metrics=meters.metrics,
        checks={
            "database": database_ready(pool, MIGRATIONS, name),
            "keys": authenticator.check,
            "projection": projection_ready(runner),
            "relay": relay_ready(relay),
            "intake": intake_ready(intake),
        },
    )
    gauges = Gauges(
        [
            watch_runner(meters.metrics, runner),
            watch_log(meters.metrics, writer, relay, intake),
        ]
    )
    components = (
        PoolComponent(pool),
        OwnLog(pool, name),
        models,
        writer,
        runner,
        relay,
        intake,
        rejections,
        gauges,
    )
    return BuiltService(app, components, rebuild_model)


def _writer_connection(
    dsn: str, name: str
) -> Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]:
    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        connection = await asyncpg.connect(
            dsn,
            timeout=5,
            server_settings={
                **session_settings(f"{name} writer", WRITER_TRANSACTION_S),
                "synchronous_commit": "on",
                "lock_timeout": "5s",
            },
        )
        try:
            await check_log(connection, name)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect


def _record_reader(
    doors: Doors, new_id: IdSource
) -> Callable[[bytes, str, Headers], PendingCommand | Refusal]:
    """Read a Kafka record as the submission of its topic's organisation."""

    def read(raw: bytes, organisation: str, _headers: Headers) -> PendingCommand | Refusal:
        try:
            tree = parse_json(raw)
            principal = kafka_principal(organisation)
            return doors.from_submission(tree, principal, "kafka", new_id(""))
        except BadJson as error:
            kind = INVALID_REQUEST if isinstance(error, BadText) else MALFORMED_JSON
            problem = Problem(kind, errors=[Fault(error.pointer, error.detail)])
            return Refusal(problem.document())
        except Problem as problem:
            return Refusal(problem.document())

    return read


def _explain(error: CommandRefusedError) -> Mapping[str, Any]:
    problem = problem_of(error)
    return explain_plainly(error) if problem is None else problem.document()
