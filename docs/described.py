"""Owns putting every service together without starting it, so that its tables can be read.

Must not connect to anything.
"""

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aiohttp import web
from pydantic import SecretStr

from shared.clock import SystemClock, new_id
from shared.commands.command import CommandType
from shared.http.routes import Route
from shared.http.routing import METRICS, ROUTES
from shared.observability.metrics import Metrics
from shared.service.config import EstateSettings, OwnerSettings, ServiceSettings

_SERVICES: Final = Path(__file__).parents[1] / "services"
_ESTATE: Final = EstateSettings.model_construct(
    kafka_bootstrap="kafka:9092",
    keys_file=Path("keys.json"),
    cursor_secret=SecretStr("made up to read the tables"),
    public_reads=True,
)


@dataclass(frozen=True, slots=True)
class Described:
    """What one service shows of itself."""

    name: str
    app: web.Application
    settings: type[ServiceSettings]
    owner_settings: type[OwnerSettings]
    commands: tuple[CommandType[Any], ...]

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route, the system's own too."""
        return self.app[ROUTES]

    @property
    def metrics(self) -> Metrics:
        """Its metrics."""
        return self.app[METRICS]


@lru_cache(maxsize=1)
def services() -> tuple[Described, ...]:
    """Every service that can be put together, the registry first."""
    folders = {path.parent.name for path in _SERVICES.glob("*/bootstrap.py")}
    return tuple(_described(name) for name in sorted(folders, key=_reading_order))


def _reading_order(name: str) -> tuple[int, str]:
    first = ("registry", "dependencies")
    return (first.index(name) if name in first else len(first), name)


def _described(name: str) -> Described:
    config = import_module(f"services.{name}.config")
    settings = _subclass(config, ServiceSettings)
    own = settings.model_construct(
        database_dsn=SecretStr("postgresql://none"), http_host="127.0.0.1", http_port=0
    )
    build = import_module(f"services.{name}.bootstrap").build

    async def built() -> web.Application:
        # A pool belongs to the loop in which it is made, connected or not.
        app: web.Application = build(own, _ESTATE, SystemClock(), new_id).app
        return app

    app = asyncio.run(built())
    return Described(name, app, settings, _subclass(config, OwnerSettings), (*_commands(name),))


def _subclass(module: ModuleType, parent: type[Any]) -> type[Any]:
    found = inspect.getmembers(
        module,
        lambda one: inspect.isclass(one) and issubclass(one, parent) and one is not parent,
    )
    made: type[Any] = found[0][1]
    return made


def _commands(name: str) -> Iterator[CommandType[Any]]:
    for path in sorted((_SERVICES / name).glob("*/routes.py")):
        module = import_module(f"services.{name}.{path.parent.name}.routes")
        yield from getattr(module, "COMMANDS", ())
