"""Owns a service's command line: `serve`, and `migrate` with the owner's credentials.

Must not hold anything of one service.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from shared.clock import Clock, IdSource, SystemClock, new_id
from shared.database.migrate import migrate
from shared.eventstore.reader import open_log
from shared.eventstore.types import AnotherLogError
from shared.failpoints import arm
from shared.observability.logs import configure_logging
from shared.service.components import run_service
from shared.service.config import EstateSettings, OwnerSettings, ServiceSettings, load, refuse
from shared.service.log_service import MIGRATIONS, BuiltService

_log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)
Build = Callable[[S, EstateSettings, Clock, IdSource], BuiltService]

USAGE: Final = "say serve or migrate"


def main(
    name: str, own: type[S], owner: type[OwnerSettings], build: Build[S], arguments: list[str]
) -> None:
    """Run one service, or bring its database up to date."""
    match arguments:
        case ["serve"]:
            settings, estate = load(own, EstateSettings)
            assert isinstance(settings, own) and isinstance(estate, EstateSettings)  # noqa: S101, PT018
            configure_logging(name, estate.log_level)
            arm(estate.failpoints)
            _run(_serve(name, settings, estate, build))
        case ["migrate"]:
            (settings,) = load(owner)
            assert isinstance(settings, OwnerSettings)  # noqa: S101 - as loaded.
            configure_logging(name)
            _run(migrate_service(name, settings.owner_dsn.get_secret_value()))
        case _:
            refuse([f"{sys.argv[0]}: {USAGE}"])


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except AnotherLogError as error:
        refuse([str(error)])


async def _serve(name: str, settings: S, estate: EstateSettings, build: Build[S]) -> None:
    service = build(settings, estate, SystemClock(), new_id)
    host, port = settings.http_host, settings.http_port
    await run_service(name, service.app, host, port, service.components)


async def migrate_service(name: str, dsn: str) -> None:
    """Bring a service's database up to date, and make its empty log if there is none."""
    applied = await migrate(dsn, MIGRATIONS)
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await open_log(connection, name)
    finally:
        await connection.close(timeout=5)
    _log.info("migrated", service=name, applied=applied)
