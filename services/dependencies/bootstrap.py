"""Owns putting the dependencies service together: the only file that chooses pools and stores."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from services.dependencies.config import DependenciesSettings
from services.dependencies.dependencies.decider import DEPENDENCY
from services.dependencies.dependencies.routes import COMMANDS
from services.dependencies.read_models.keepers import keepers, submitters
from services.dependencies.read_models.projection import GRAPH, LOG
from services.dependencies.routes import read_routes
from shared.clock import Clock, IdSource
from shared.eventstore.reader import LogReader
from shared.eventstore.types import LogUnavailableError, LookUp
from shared.http.openapi import ServiceInfo
from shared.http.routes import Route
from shared.projections.read_models import ReadModels, ReadModelUnavailableError
from shared.reads.reading import Reads
from shared.service.config import EstateSettings
from shared.service.log_service import (
    VERSION,
    BuiltService,
    LogServiceParts,
    build_log_service,
)

INFO: Final = ServiceInfo(
    LOG, "Dependencies", VERSION, "What depends on what, declared and resolved over time."
)


def build(
    settings: DependenciesSettings, estate: EstateSettings, clock: Clock, new_id: IdSource
) -> BuiltService:
    """The dependencies service, ready to run."""

    def look_up(models: ReadModels) -> LookUp:
        async def answer(
            questions: Collection[tuple[str, str]],
        ) -> Mapping[tuple[str, str], Any]:
            try:
                pool = models.pool
            except ReadModelUnavailableError as error:
                raise LogUnavailableError("the registry's services are not known yet") from error
            return await keepers(pool, questions, clock.now())

        return answer

    async def organisations(models: ReadModels) -> Collection[str]:
        return await submitters(models.pool, clock.now())

    def routes(reads: Reads, reader: LogReader) -> Sequence[Route]:
        return read_routes(reads, reader)

    parts = LogServiceParts(
        info=INFO,
        commands=COMMANDS,
        categories={DEPENDENCY.kind: DEPENDENCY},
        projection=GRAPH,
        organisations=organisations,
        routes=routes,
        look_up=look_up,
    )
    dsn = settings.database_dsn.get_secret_value()
    return build_log_service(parts, estate, dsn, clock, new_id)
