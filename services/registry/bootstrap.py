"""Owns putting the registry together: the only file that chooses pools, producers and stores."""

from collections.abc import Collection
from typing import Final

from services.registry.config import RegistrySettings
from services.registry.organisations.decider import ORGANISATION
from services.registry.organisations.routes import COMMANDS as ORGANISATION_COMMANDS
from services.registry.read_models.projection import ESTATE, LOG
from services.registry.routes import read_routes
from services.registry.services.decider import SERVICE
from services.registry.services.routes import COMMANDS as SERVICE_COMMANDS
from shared.clock import Clock, IdSource
from shared.http.openapi import ServiceInfo
from shared.projections.read_models import ReadModels
from shared.service.config import EstateSettings
from shared.service.log_service import (
    VERSION,
    BuiltService,
    LogServiceParts,
    build_log_service,
)

INFO: Final = ServiceInfo(
    LOG, "Registry", VERSION, "Organisations, services, phases, and who holds which role for them."
)
_SUBMITTERS: Final = "SELECT subject FROM organisations WHERE kind <> 'team'"


async def _submitters(models: ReadModels) -> Collection[str]:
    """Every organisation but teams has a submissions topic."""
    return [row["subject"] for row in await models.pool.fetch(_SUBMITTERS)]


def build(
    settings: RegistrySettings, estate: EstateSettings, clock: Clock, new_id: IdSource
) -> BuiltService:
    """The registry, ready to run."""
    parts = LogServiceParts(
        info=INFO,
        commands=(*ORGANISATION_COMMANDS, *SERVICE_COMMANDS),
        categories={ORGANISATION.kind: ORGANISATION, SERVICE.kind: SERVICE},
        projection=ESTATE,
        organisations=_submitters,
        routes=read_routes,
    )
    dsn = settings.database_dsn.get_secret_value()
    return build_log_service(parts, estate, dsn, clock, new_id)
