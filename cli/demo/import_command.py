"""Owns `estate import`: the demo's import alone, into an estate that runs already.

Must not start anything.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.connection import connect
from cli.demo.command import Day, First, Rate, Source, readable_plan, shown_import
from cli.demo.held_history import note_history, require_same_history
from cli.demo.sending import ImportRefusedError
from cli.demo.sources import DEFAULT_SOURCE, Plan
from cli.failures import Failure
from cli.local_estate import ensure_key
from cli.options import DEFAULT_STATE, Json, State
from cli.terminal import say, show_json
from shared.auth.principals import Role
from shared.http.client import ApiError, ApiUnreachable
from shared.messaging.kafka import KafkaSettings


@dataclass(frozen=True, slots=True)
class _Running:
    """An estate that runs already, found through its state folder."""

    state: Path
    urls: Mapping[str, str]
    kafka: KafkaSettings

    def ensure_key(self, name: str, role: Role, organisation: str | None = None) -> str:
        """The key of that name, issued when there is none yet."""
        return ensure_key(self.state, name, role, organisation)


def import_(
    *,
    source: Source = DEFAULT_SOURCE,
    until: Day = None,
    rate: Rate = None,
    dependencies_first: First = False,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Import both histories into the estate that runs; what is there already has no new effect."""
    plan = readable_plan(source, until)
    require_same_history(state, plan, source)
    connection = connect(state)
    names = ("registry", "dependencies")
    target = _Running(
        state,
        {name: connection.url(name) for name in names},
        KafkaSettings(**connection.kafka().model_dump()),
    )
    note_history(state, plan, source)
    console = Console(stderr=True)
    try:
        asyncio.run(
            shown_import(target, plan, console, rate=rate, dependencies_first=dependencies_first)
        )
    except (ImportRefusedError, ApiError, ApiUnreachable) as error:
        raise Failure(str(error), "See `estate status`.") from error
    if as_json:
        show_json(_document(plan))
    else:
        say(f"Imported up to {plan.last_day}.")


def _document(plan: Plan) -> dict[str, Any]:
    sources = (plan.repos, plan.docker)
    return {
        "last_day": plan.last_day.isoformat(),
        "sources": {
            one.name: {
                "rows": len(one.rows),
                "submissions": one.submissions,
                "rows_without_event": sum(one.reasons.values()),
            }
            for one in sources
        },
    }
