"""Metrics from one table, health under one deadline."""

import asyncio
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.observability import metrics as names
from shared.observability.health import Health, readiness_document, run_checks
from shared.observability.metrics import HELP, Metrics


def test_requests_are_counted_and_timed() -> None:
    metrics = Metrics("sample", "1.0")
    metrics.answered("/v1/things/{id}", "GET", 200, 0.02)
    metrics.answered("/v1/things/{id}", "GET", 200, 0.02)
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    samples = {s.name: s.value for s in families["estate_http_requests"].samples}
    assert samples["estate_http_requests_total"] == 2.0
    assert families["estate_http_request_duration_seconds"].documentation


def test_openmetrics_is_given_to_those_who_ask() -> None:
    body, content_type = Metrics("sample", "1.0").exposition("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_every_metric_of_the_table_can_be_made_and_no_other() -> None:
    metrics = Metrics("sample", "1.0")
    for name in HELP.keys() - {
        names.BUILD_INFO,
        names.HTTP_REQUESTS,
        names.HTTP_DURATION,
        names.HTTP_IN_FLIGHT,
    }:
        metrics.gauge(name) if not name.endswith("_total") else metrics.counter(name)
    with pytest.raises(KeyError):
        metrics.gauge("estate_invented")


async def test_checks_run_together_and_a_slow_one_harms_no_other() -> None:
    async def hangs() -> Health:
        await asyncio.Event().wait()
        return Health(ok=True)

    async def fine() -> Health:
        return Health(ok=True, detail="7 connections")

    started = time.monotonic()
    checks = {"a": hangs, "b": hangs, "c": fine}
    document = readiness_document(await run_checks(checks, deadline_s=0.1))
    assert time.monotonic() - started < 1
    assert document["ready"] is False
    assert document["checks"]["a"]["detail"] == "no answer within 0.1 s"
    assert document["checks"]["c"] == {"ok": True, "detail": "7 connections", "duration_ms": 0}


async def test_a_service_that_needs_nothing_is_ready() -> None:
    assert readiness_document(await run_checks({})) == {"ready": True, "checks": {}}
