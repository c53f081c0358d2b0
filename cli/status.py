"""Owns asking the running services how they are: ready, how far their logs and read models are.

Must not repair anything, and must not need a key to say whether a service is up.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson
import typer
from prometheus_client.parser import text_string_to_metric_families

from cli.asking import run, service
from cli.config import SERVICES
from cli.connection import Connection, connect
from cli.failures import ANSWER_IS_NO, Failure
from cli.options import DEFAULT_STATE, Json, KeyFile, State
from cli.terminal import NOTHING, cell, plain, properties, show, show_json, table
from shared.http.client import ApiAnswer, ApiUnreachable
from shared.observability.metrics import (
    PROJECTION_LAG_EVENTS,
    PROJECTION_STOPPED,
    RELAY_BACKLOG,
)

LOGS: Final = ("registry", "dependencies")
_DEADLINE_S: Final = 5.0
_MAX_BYTES: Final = 4 * 1024 * 1024


def status(as_json: Json = False, state: State = DEFAULT_STATE, key_file: KeyFile = None) -> None:
    """Tell whether the services work and keep up; exit code 1 unless all do."""
    found = run(_status(state, key_file))
    if as_json:
        show_json(found)
    else:
        _show_status(found)
    if not all(one["ready"] and not _halted(one) for one in found.values()):
        raise typer.Exit(ANSWER_IS_NO)


async def _status(state: State, key_file: KeyFile) -> dict[str, Any]:
    connection = connect(state, key_file)
    urls = {name: connection.url(name) for name in SERVICES}
    found = await asyncio.gather(*(_look(connection, name, urls[name]) for name in SERVICES))
    return dict(zip(SERVICES, found, strict=True))


async def _look(connection: Connection, name: str, url: str) -> dict[str, Any]:
    try:
        ready = orjson.loads((await _fetch(f"{url.rstrip('/')}/readyz")).body)
        checks = {str(check): dict(found) for check, found in ready["checks"].items()}
        is_ready = ready["ready"] is True
        measures = _measures((await _fetch(f"{url.rstrip('/')}/metrics")).body.decode())
    except ApiUnreachable as error:
        return {"url": url, "ready": False, "problem": str(error), "checks": {}, "log": None}
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = "what answers there is no service of the estate"
        return {"url": url, "ready": False, "problem": problem, "checks": {}, "log": None}
    head, trouble = await _log_head(connection, name) if name in LOGS else (None, None)
    found = {"url": url, "ready": is_ready, "problem": trouble, "checks": checks, "log": head}
    return {**found, **measures}


async def _fetch(url: str) -> ApiAnswer:
    """Read a page once: here the answer `not ready` is an answer, nothing to try again."""
    timeout = aiohttp.ClientTimeout(total=_DEADLINE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return ApiAnswer(response.status, await response.content.read(_MAX_BYTES))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ApiUnreachable("does not answer") from error


async def _log_head(connection: Connection, name: str) -> tuple[dict[str, Any] | None, str | None]:
    try:
        async with service(connection, name, deadline_s=_DEADLINE_S) as answering:
            return await answering.document("/v1/log", {}), None
    except Failure as failure:
        return None, failure.message


def _measures(text: str) -> dict[str, Any]:
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    lags = [s.value for s in samples if s.name == PROJECTION_LAG_EVENTS]
    backlogs = [s.value for s in samples if s.name == RELAY_BACKLOG]
    return {
        "relay_backlog_events": round(sum(backlogs)) if backlogs else None,
        "projection_lag_events": round(max(lags)) if lags else None,
        "projections_stopped": [
            s.labels.get("projection") for s in samples if s.name == PROJECTION_STOPPED and s.value
        ],
    }


def _halted(one: Mapping[str, Any]) -> bool:
    return bool((one.get("log") or {}).get("halted"))


def _show_status(found: Mapping[str, Mapping[str, Any]]) -> None:
    rows = table("Service", "Ready", "Log at", "Not published", "Read models", "What is wrong")
    for name, one in found.items():
        ready = one["ready"]
        lag, backlog = one.get("projection_lag_events"), one.get("relay_backlog_events")
        rows.add_row(
            cell(name),
            cell("yes" if ready else "no", "green" if ready else "bold red"),
            cell((one.get("log") or {}).get("position")),
            cell(backlog),
            cell(NOTHING if lag is None else f"{lag} events behind" if lag else "current"),
            cell("; ".join(_wrong(one)) or None),
        )
    show(rows)
    for name, one in found.items():
        show(cell(f"{name} at {plain(one['url'])}", "dim"))


def _wrong(one: Mapping[str, Any]) -> list[str]:
    wrong = [plain(one["problem"])] if one.get("problem") else []
    if _halted(one):
        wrong.append("the log is halted")
    wrong += [f"{plain(name)} has stopped" for name in one.get("projections_stopped") or []]
    wrong += [
        f"{plain(name)}: {plain(check.get('detail') or 'failed')}"
        for name, check in one["checks"].items()
        if not check.get("ok")
    ]
    return wrong


def log(as_json: Json = False, state: State = DEFAULT_STATE, key_file: KeyFile = None) -> None:
    """Tell where the logs end: position, topic and root of each."""

    async def ask() -> dict[str, Any]:
        connection = connect(state, key_file)
        heads = {}
        for name in LOGS:
            async with service(connection, name) as answering:
                heads[name] = await answering.document("/v1/log", {})
        return heads

    heads = run(ask())
    if as_json:
        show_json({"items": list(heads.values())})
        return
    names = ("log", "position", "timeline", "topic", "root", "halted")
    for number, head in enumerate(heads.values()):
        known = [name for name in names if head.get(name) is not None]
        if number:
            show("")
        show(properties((name.capitalize(), cell(head[name])) for name in known))
