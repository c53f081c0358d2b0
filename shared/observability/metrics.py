"""Owns the metrics of a process: their names, their help texts, their exposition.

Must not take labels from input: every label value comes from a closed set.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

EXPOSITION_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = OPENMETRICS

BUILD_INFO: Final = "estate_build_info"
HTTP_REQUESTS: Final = "estate_http_requests_total"
HTTP_DURATION: Final = "estate_http_request_duration_seconds"
HTTP_IN_FLIGHT: Final = "estate_http_requests_in_flight"
LOG_POSITION: Final = "estate_log_position"
LOG_APPENDS: Final = "estate_log_appended_events_total"
LOG_BATCH_COMMANDS: Final = "estate_log_batch_commands"
LOG_APPEND_DURATION: Final = "estate_log_append_duration_seconds"
LOG_QUEUE_COMMANDS: Final = "estate_log_queue_commands"
RELAY_POSITION: Final = "estate_relay_position"
RELAY_BACKLOG: Final = "estate_relay_backlog_events"
RELAY_REBUILDS: Final = "estate_relay_producer_rebuilds"
INTAKE_SUBMISSIONS: Final = "estate_intake_submissions"
PROJECTION_POSITION: Final = "estate_projection_position"
PROJECTION_LAG_EVENTS: Final = "estate_projection_lag_events"
PROJECTION_STOPPED: Final = "estate_projection_stopped"
PROJECTION_DROPPED: Final = "estate_projection_dropped_events"

HELP: Final[Mapping[str, str]] = {
    BUILD_INFO: "The version of the service that runs; the value is always 1.",
    HTTP_REQUESTS: "Requests answered, by route template, method and status.",
    HTTP_DURATION: "Time from the end of a request's headers to its answer, by route and method.",
    HTTP_IN_FLIGHT: "Requests being answered now.",
    LOG_POSITION: "Position of the last event committed to the log.",
    LOG_APPENDS: "Events committed to the log by this process.",
    LOG_BATCH_COMMANDS: "Commands decided in one commit of the log.",
    LOG_APPEND_DURATION: "Time of a batch from asking for the gate to its durable commit.",
    LOG_QUEUE_COMMANDS: "Commands waiting for the log writer.",
    RELAY_POSITION: "Position of the last event known to be on the topic.",
    RELAY_BACKLOG: "Events in the log and not on the topic yet.",
    RELAY_REBUILDS: "Times the relay made its producer again since it started.",
    INTAKE_SUBMISSIONS: "Submissions taken from Kafka since the start, by outcome.",
    PROJECTION_POSITION: "Position that a projection reflects, by projection and log.",
    PROJECTION_LAG_EVENTS: "Events of its log that a projection has not applied yet.",
    PROJECTION_STOPPED: "1 while a projection has stopped on a fault, else 0.",
    PROJECTION_DROPPED: "Events that had been applied before and were dropped, since the start.",
}
"""Every metric of the estate in one table: what is not listed here is not exported."""

_LATENCY_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class Metrics:
    """The metrics of one process, on a registry of their own so that tests do not share any."""

    def __init__(self, service: str, version: str) -> None:
        self.registry = CollectorRegistry()
        build = self.gauge(BUILD_INFO, "service", "version")
        build.labels(service, version).set(1)
        self._requests = self.counter(HTTP_REQUESTS, "route", "method", "status")
        self._durations = self.histogram(
            HTTP_DURATION, "route", "method", buckets=_LATENCY_BUCKETS_S
        )
        self.in_flight = self.gauge(HTTP_IN_FLIGHT)
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def counter(self, name: str, *labels: str) -> Counter:
        """A counter of the table. Raises: KeyError for a name that is not in it."""
        return Counter(name, HELP[name], labels, registry=self.registry)

    def gauge(self, name: str, *labels: str) -> Gauge:
        """A gauge of the table. Raises: KeyError for a name that is not in it."""
        return Gauge(name, HELP[name], labels, registry=self.registry)

    def histogram(
        self, name: str, *labels: str, buckets: tuple[float, ...] = _LATENCY_BUCKETS_S
    ) -> Histogram:
        """A histogram of the table. Raises: KeyError for a name that is not in it."""
        return Histogram(name, HELP[name], labels, registry=self.registry, buckets=buckets)

    def answered(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count one answered request. `route` is a template, never a path as sent."""
        # Looking children up by their labels takes longer than counting.
        found = self._answers.get((route, method, status))
        if found is None:
            found = (
                self._requests.labels(route, method, status),
                self._durations.labels(route, method),
            )
            self._answers[route, method, status] = found
        requests, durations = found
        requests.inc()
        durations.observe(duration_s)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The body of `/metrics` and its media type."""
        if "application/openmetrics-text" in accept:
            body: bytes = generate_openmetrics(self.registry)  # type: ignore[no-untyped-call]
            return body, OPENMETRICS_TYPE
        return generate_latest(self.registry), EXPOSITION_TYPE
