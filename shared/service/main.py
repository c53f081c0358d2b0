"""Owns a service's command line: `serve`, `rebuild`; `migrate`, `log` with the owner's credentials.

Must not hold anything of one service.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import asyncpg
import structlog

from shared.clock import Clock, IdSource, SystemClock, new_id
from shared.configuration.reading import WrongSettingsError, refuse
from shared.database.errors import UNREACHABLE
from shared.database.migrate import migrate
from shared.eventstore.reader import open_log
from shared.eventstore.types import AnotherLogError
from shared.failpoints import arm
from shared.http.server import CannotListenError
from shared.observability.logs import configure_logging
from shared.projections.rebuild import REBUILD_ERRORS
from shared.service.components import run_service
from shared.service.config import (
    EstateSettings,
    OwnerSettings,
    ServiceSettings,
    read_owner_dsn,
    read_service,
)
from shared.service.heap import tune_heap
from shared.service.log_service import MIGRATIONS, BuiltService
from shared.service.repairing import repair_log

_log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)
Build = Callable[[S, EstateSettings, Clock, IdSource], BuiltService]

USAGE: Final = "say serve, rebuild, migrate or log"
_FAILED: Final = 1
_NOT_LET_IN: Final = (
    *UNREACHABLE,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


def main(
    name: str, own: type[S], owner: type[OwnerSettings], build: Build[S], arguments: list[str]
) -> None:
    """Run one service, rebuild its read model, bring its database up to date, or repair its log."""
    try:
        _run(name, own, owner, build, arguments)
    except WrongSettingsError as error:
        refuse(error.faults)
    except AnotherLogError as error:
        refuse([str(error)])
    except CannotListenError as error:
        refuse([f"{own.variable('http_host')}, {own.variable('http_port')}: {error}"])


def _run(
    name: str, own: type[S], owner: type[OwnerSettings], build: Build[S], arguments: list[str]
) -> None:
    match arguments:
        case ["serve" | "rebuild" as work]:
            settings, estate = read_service(own)
            configure_logging(name, estate.log_level)
            arm(estate.failpoints)
            do = _serve if work == "serve" else _rebuild
            asyncio.run(do(name, settings, estate, build))
        case ["migrate"]:
            configure_logging(name)
            asyncio.run(_migrate(name, read_owner_dsn(owner)))
        case ["log", *act]:
            repair_log(name, act, lambda: read_owner_dsn(owner))
        case _:
            refuse([f"{sys.argv[0]}: {USAGE}"])


async def _serve(name: str, settings: S, estate: EstateSettings, build: Build[S]) -> None:
    service = build(settings, estate, SystemClock(), new_id)
    tune_heap()
    host, port = settings.http_host, settings.http_port
    await run_service(name, service.app, host, port, service.components)


async def _rebuild(name: str, settings: S, estate: EstateSettings, build: Build[S]) -> None:
    service = build(settings, estate, SystemClock(), new_id)
    tune_heap()
    try:
        generation = await service.rebuild()
    except REBUILD_ERRORS as error:
        _log.error("not_rebuilt", service=name, error=repr(error))
        raise SystemExit(_FAILED) from error
    _log.info("rebuilt", service=name, generation=generation.number)


async def _migrate(name: str, dsn: str) -> None:
    try:
        await migrate_service(name, dsn)
    except _NOT_LET_IN as error:
        _log.error("not_migrated", service=name, error=repr(error))
        raise SystemExit(_FAILED) from error


async def migrate_service(name: str, dsn: str) -> None:
    """Bring a service's database up to date, and make its empty log if there is none."""
    applied = await migrate(dsn, MIGRATIONS)
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await open_log(connection, name)
    finally:
        await connection.close(timeout=5)
    _log.info("migrated", service=name, applied=applied)
