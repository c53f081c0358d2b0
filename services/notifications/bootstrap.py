"""Owns putting notifications together: the only file that chooses pools and feeds."""

from typing import Final

from services.notifications.changes.feed import ChangeFeed
from services.notifications.changes.routes import change_routes
from services.notifications.config import NotificationsSettings
from services.notifications.read_models.projection import CHANGES
from shared.clock import Clock, IdSource
from shared.http.openapi import ServiceInfo
from shared.http.routing import METRICS, build_app
from shared.messaging.topic_feed import TopicFeed
from shared.projections.feed import Feed
from shared.projections.generations import Generation
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.runner import ProjectionRunner
from shared.service.components import PoolComponent, make_pool, running
from shared.service.config import EstateSettings
from shared.service.gauges import Gauges, watch_runner
from shared.service.log_service import (
    MIGRATIONS,
    VERSION,
    BuiltService,
    make_authenticator,
)
from shared.service.readiness import database_ready, projection_ready

INFO: Final = ServiceInfo(
    "notifications", "Notifications", VERSION, "What changed: the change feed over every log."
)


def build(
    settings: NotificationsSettings, estate: EstateSettings, clock: Clock, _new_id: IdSource
) -> BuiltService:
    """Notifications, ready to run."""
    dsn = settings.database_dsn.get_secret_value()
    kafka = estate.kafka()

    def open_feed(log: str) -> Feed:
        return TopicFeed(log, kafka, clock)

    pool = make_pool(dsn, INFO.name, max_size=2)
    models = ReadModels(dsn, CHANGES, clock)

    async def rebuild_model() -> Generation:
        async with running((models,)):
            return await rebuild(CHANGES, open_feed, models, clock)

    runner = ProjectionRunner(CHANGES, open_feed, models, clock)
    feed = ChangeFeed(models)
    authenticator = make_authenticator(estate, clock)
    app = build_app(
        change_routes(feed),
        authenticator=authenticator,
        info=INFO,
        checks={
            "database": database_ready(pool, MIGRATIONS),
            "keys": authenticator.check,
            "projection": projection_ready(runner),
        },
    )
    app.on_shutdown.append(feed.end_streams)
    gauges = Gauges([watch_runner(app[METRICS], runner)])
    components = (PoolComponent(pool), models, runner, feed, gauges)
    return BuiltService(app, components, rebuild_model)
