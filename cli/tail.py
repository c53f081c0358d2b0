"""Owns following the change feed, as lines for people or JSON lines for programs.

Must not keep the cursor; it tells it, and the caller keeps it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

import typer

from cli.asking import run, service
from cli.connection import Connection, connect
from cli.failures import Failure
from cli.names import Names
from cli.options import DEFAULT_STATE, Json, KeyFile, State
from cli.service_commands import event_name, value_text
from cli.terminal import cell, moment, say, show_json, show_line

_PAGE: Final = "200"
_WAIT_S: Final = "20"
_DEADLINE_S: Final = 60.0
_NAMES_DEADLINE_S: Final = 5.0
_PAUSE_S: Final = 0.5
_INTERRUPTED: Final = 130


class _Cursor:
    """How far the feed was printed."""

    def __init__(self, after: str | None) -> None:
        self.after = after


def tail(
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind it; else from the start.")
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="T", help="Only of this type, or estate.service.role_* and the like."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--service", metavar="S", help="Only changes of this service.")
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(metavar="REF", help="Only changes by this organisation.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", metavar="", help="Wait for more until interrupted.")
    ] = False,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell what changed, one line for each change, in the order of each log."""
    cursor = _Cursor(after)
    query = {"type": event_type, "service": reference, "organisation": organisation}
    try:
        run(_read(cursor, query, state, key_file, follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        if cursor.after not in {None, after}:
            say(f"--after {cursor.after}", label="Go on later with")


async def _read(
    cursor: _Cursor,
    query: Mapping[str, str | None],
    state: State,
    key_file: KeyFile,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    connection = connect(state, key_file)
    async with AsyncExitStack() as stack:
        known = None if as_json else await _known_names(stack, connection)
        feed = service(connection, "notifications", deadline_s=_DEADLINE_S)
        notifications = await stack.enter_async_context(feed)
        while True:
            start = cursor.after
            page = await notifications.document(
                "/v1/changes",
                {
                    **query,
                    "after": cursor.after,
                    "limit": _PAGE,
                    "wait_s": _WAIT_S if follow else None,
                },
            )
            items = page.get("items") or []
            names = {} if known is None else await known.of(items)
            for change in items:
                _print(change, names, as_json=as_json)
                cursor.after = change.get("cursor") or cursor.after
            moved = page.get("next") not in (None, start)
            cursor.after = page.get("next") or cursor.after
            if not follow and not (items and moved):
                return
            if not items:
                await asyncio.sleep(_PAUSE_S)  # Should it answer at once, it is not to be flooded.


async def _known_names(stack: AsyncExitStack, connection: Connection) -> Names | None:
    """Names out of the registry; without it changes are told with ids."""
    try:
        registry = service(connection, "registry", deadline_s=_NAMES_DEADLINE_S)
        return Names(await stack.enter_async_context(registry))
    except Failure as failure:
        say(failure.message, label="Without names")
        return None


def _print(change: Mapping[str, Any], names: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        show_json(change, indent=None)
        return
    event = change.get("event") or {}
    data = dict(event.get("data") or {})
    reason = data.pop("reason", None)
    parts = [
        cell(moment(event.get("time")), "dim"),
        cell(change.get("position"), "dim"),
        cell(event_name(event.get("type")), "bold"),
        cell(data.get("slug") or value_text(event.get("subject"), names), "cyan"),
        cell(value_text(data, names)),
        cell(reason or "", "italic"),
    ]
    show_line(*(part for part in parts if part.plain))
