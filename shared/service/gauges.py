"""Owns showing the state of a service's parts as metrics.

Must only read: what a part does is its own business.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from shared.background import Background
from shared.eventstore.writer import BatchDone, LogWriter
from shared.messaging.intake import Intake
from shared.messaging.relay import Relay
from shared.observability import metrics as names
from shared.observability.metrics import Metrics
from shared.projections.runner import ProjectionRunner
from shared.projections.status import RunnerState

_PERIOD_S: Final = 1.0
_BATCH_BUCKETS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


class Gauges:
    """Reads the parts once a second."""

    def __init__(self, readers: list[Callable[[], None]]) -> None:
        self._readers = readers
        self._background = Background("gauges", self._run)

    async def start(self) -> None:
        """Begin."""
        self._background.start()

    async def stop(self) -> None:
        """End."""
        await self._background.stop()

    async def _run(self) -> None:
        while True:
            for read in self._readers:
                read()
            await asyncio.sleep(_PERIOD_S)


def watch_runner(metrics: Metrics, runner: ProjectionRunner) -> Callable[[], None]:
    """Positions, lag and stops of a projection."""
    position = metrics.gauge(names.PROJECTION_POSITION, "projection", "log")
    lag = metrics.gauge(names.PROJECTION_LAG_EVENTS, "projection", "log")
    stopped = metrics.gauge(names.PROJECTION_STOPPED, "projection")
    dropped = metrics.gauge(names.PROJECTION_DROPPED, "projection", "log")

    def read() -> None:
        status = runner.status()
        stopped.labels(status.projection).set(status.state is RunnerState.STOPPED)
        for log, one in status.logs.items():
            position.labels(status.projection, log).set(one.position.position)
            lag.labels(status.projection, log).set(one.lag)
            dropped.labels(status.projection, log).set(one.dropped)

    return read


class LogMeters:
    """Counts what the writer commits."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._position = metrics.gauge(names.LOG_POSITION)
        self._events = metrics.counter(names.LOG_APPENDS)
        self._commands = metrics.histogram(names.LOG_BATCH_COMMANDS, buckets=_BATCH_BUCKETS)
        self._duration = metrics.histogram(names.LOG_APPEND_DURATION)

    def count(self, done: BatchDone) -> None:
        """Take one commit into account."""
        self._position.set(done.position)
        self._events.inc(done.events)
        self._commands.observe(done.commands)
        self._duration.observe(done.duration_s)


def watch_log(
    metrics: Metrics, writer: LogWriter, relay: Relay, intake: Intake
) -> Callable[[], None]:
    """The writer's queue, the relay's place and backlog, what the intake has taken."""
    queue = metrics.gauge(names.LOG_QUEUE_COMMANDS)
    published = metrics.gauge(names.RELAY_POSITION)
    backlog = metrics.gauge(names.RELAY_BACKLOG)
    rebuilds = metrics.gauge(names.RELAY_REBUILDS)
    taken = metrics.gauge(names.INTAKE_SUBMISSIONS, "outcome")

    def read() -> None:
        queue.set(writer.depth)
        published.set(relay.status.position)
        backlog.set(relay.status.lag)
        rebuilds.set(relay.status.producer_rebuilds)
        taken.labels("accepted").set(intake.status.accepted)
        taken.labels("rejected").set(intake.status.rejected)

    return read
