"""Owns a service's command line: `serve`, `rebuild`; `migrate`, `log` with the owner's credentials.

Must not hold anything of one service.
"""

import asyncio
import errno
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
from shared.projections.rebuild import REBUILD_ERRORS
from shared.service.components import run_service
from shared.service.config import EstateSettings, OwnerSettings, ServiceSettings, load, refuse
from shared.service.heap import tune_heap
from shared.service.log_service import MIGRATIONS, BuiltService
from shared.service.repairing import repair_log

_log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)
Build = Callable[[S, EstateSettings, Clock, IdSource], BuiltService]

USAGE: Final = "say serve, rebuild, migrate or log"
_FAILED: Final = 1
_NO_ADDRESS: Final = {errno.EADDRINUSE, errno.EADDRNOTAVAIL}


def main(
    name: str, own: type[S], owner: type[OwnerSettings], build: Build[S], arguments: list[str]
) -> None:
    """Run one service, rebuild its read model, bring its database up to date, or repair its log."""
    match arguments:
        case ["serve" | "rebuild" as work]:
            settings, estate = load(own, EstateSettings)
            assert isinstance(settings, own) and isinstance(estate, EstateSettings)  # noqa: S101, PT018
            configure_logging(name, estate.log_level)
            arm(estate.failpoints)
            do = _serve if work == "serve" else _rebuild
            _run(do(name, settings, estate, build))
        case ["migrate"]:
            configure_logging(name)
            _run(migrate_service(name, _owner_dsn(owner)))
        case ["log", *act]:
            repair_log(name, act, lambda: _owner_dsn(owner))
        case _:
            refuse([f"{sys.argv[0]}: {USAGE}"])


def _owner_dsn(owner: type[OwnerSettings]) -> str:
    (settings,) = load(owner)
    assert isinstance(settings, OwnerSettings)  # noqa: S101 - as loaded.
    return settings.owner_dsn.get_secret_value()


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except AnotherLogError as error:
        refuse([str(error)])
    except OSError as error:
        if error.errno not in _NO_ADDRESS:
            raise
        refuse([f"{error.strerror}; end what listens there, or set another <SERVICE>_HTTP_PORT"])


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


async def migrate_service(name: str, dsn: str) -> None:
    """Bring a service's database up to date, and make its empty log if there is none."""
    applied = await migrate(dsn, MIGRATIONS)
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await open_log(connection, name)
    finally:
        await connection.close(timeout=5)
    _log.info("migrated", service=name, applied=applied)
