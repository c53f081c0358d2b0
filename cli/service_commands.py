"""Owns the questions about one service: what it is, how it came to be so, what depends on what.

Must not judge; it shows what the services answer.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from cli.asking import Service, run, segment, service
from cli.connection import connect
from cli.estate_commands import party, standing
from cli.failures import WrongUse
from cli.names import Names
from cli.options import (
    DEFAULT_STATE,
    AsOf,
    Json,
    KeyFile,
    KnownAt,
    Limit,
    ServiceArgument,
    State,
)
from cli.terminal import caption, cell, moment, plain, properties, show, show_json, table
from shared.http.client import ApiError
from shared.http.problems import NOT_FOUND


def show_service(document: Mapping[str, Any]) -> None:
    """Print what a service is."""
    rows = [
        (label, cell(document[name]))
        for label, name in (
            ("Name", "name"),
            ("Slug", "slug"),
            ("Id", "id"),
            ("Kind", "kind"),
            ("Description", "description"),
        )
        if document.get(name) is not None
    ]
    rows.append(("Phase", cell(standing(document))))
    rows.append(("Visible to", cell(document.get("visibility"))))
    rows.append(("Organisation", cell(_held(document.get("organisation")))))
    for role, holder in (document.get("roles") or {}).items():
        rows.append((_title(role), cell(_held(holder))))
    if document.get("successor"):
        rows.append(("Successor", cell(document["successor"])))
    rows += [("Also known as", cell(alias)) for alias in document.get("aliases") or []]
    for source, values in (document.get("attributes") or {}).items():
        rows += [(f"{plain(source)}: {plain(name)}", cell(v)) for name, v in values.items()]
    rows.append(("True from", cell(f"{moment(document.get('effective_from'))} UTC")))
    show(properties(rows))
    caption(document, f"last changed at {plain(document.get('position'))}")


def _held(holder: Any) -> str:
    since = holder.get("since") if isinstance(holder, Mapping) else None
    return f"{party(holder)} since {moment(since)} UTC" if since else party(holder)


def _title(name: str) -> str:
    return plain(name).replace("-", " ").replace("_", " ").capitalize()


def describe(
    reference: ServiceArgument,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell what a service is, now or at any moment."""

    async def ask() -> dict[str, Any]:
        query = {"as_of": as_of, "known_at": known_at}
        async with service(connect(state, key_file), "registry") as registry:
            return await registry.document(f"/v1/services/{segment(reference)}", query)

    answer = run(ask())
    show_json(answer) if as_json else show_service(answer)


def history(
    reference: ServiceArgument,
    limit: Limit = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell how a service came to be so: every change, in the order of the log."""

    async def ask() -> tuple[dict[str, Any], Mapping[str, str]]:
        query = {"as_of": as_of, "known_at": known_at}
        path = f"/v1/services/{segment(reference)}/history"
        async with service(connect(state, key_file), "registry") as registry:
            found = await registry.whole_list(path, query, limit)
            return found, {} if as_json else await Names(registry).of(found["items"])

    answer, names = run(ask())
    if as_json:
        show_json(answer)
        return
    rows = table("True from (UTC)", "Change", "By")
    for entry in answer["items"]:
        rows.add_row(_when(entry), _what(entry, names), _who(entry, names))
    show(rows)
    count = len(answer["items"])
    caption(answer, f"{count} change{'' if count == 1 else 's'}")


def _when(entry: Mapping[str, Any]) -> Group:
    effective, recorded = moment(entry.get("effective_from")), moment(entry.get("recorded_at"))
    lines = [cell(effective)]
    if recorded != effective:
        lines.append(cell(f"recorded {recorded}", "dim"))
    lines.append(cell(entry.get("position"), "dim"))
    return Group(*lines)


def _what(entry: Mapping[str, Any], names: Mapping[str, str]) -> Group:
    lines: list[Text] = [cell(event_name(entry.get("type")), "bold")]
    if entry.get("redacted"):
        lines.append(cell("its content was removed", "red"))
    lines += [
        Text.assemble((f"{_title(name)}: ", "dim"), cell(value_text(value, names)))
        for name, value in (entry.get("data") or {}).items()
        if value not in (None, {}, [])
    ]
    if entry.get("reason"):
        lines.append(cell(entry["reason"], "italic"))
    return Group(*lines)


def _who(entry: Mapping[str, Any], names: Mapping[str, str]) -> Group:
    organisation = entry.get("organisation")
    actor = entry.get("actor")
    lines = [cell(names.get(str(organisation), organisation))] if organisation else []
    if actor != organisation:
        lines.append(cell(actor))
    lines.append(cell(f"over {plain(entry.get('door'))}", "dim"))
    return Group(*lines)


def event_name(event_type: object) -> str:
    """`service role assigned` for `estate.service.role_assigned.v1`."""
    name = plain(event_type).removeprefix("estate.").partition(".v")[0]
    return name.replace(".", " ").replace("_", " ")


def value_text(value: Any, names: Mapping[str, str]) -> str:
    """A value of an event on one line; what is empty is left out, ids with a name show it."""
    match value:
        case Mapping():
            pairs = ((name, inner) for name, inner in value.items() if inner not in (None, {}, []))
            return ", ".join(f"{plain(n)}: {value_text(inner, names)}" for n, inner in pairs)
        case list():
            return ", ".join(value_text(one, names) for one in value)
        case _:
            return plain(names.get(str(value), value))


def depends(
    reference: ServiceArgument,
    on: Annotated[
        bool, typer.Option("--on", metavar="", help="What it depends on, upstream (default).")
    ] = False,
    by: Annotated[
        bool, typer.Option("--by", metavar="", help="What depends on it, downstream.")
    ] = False,
    depth: Annotated[int, typer.Option(min=1, max=20, metavar="N", help="So many steps.")] = 1,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell what a service depends on, or what depends on it.

    What is no service, such as a database, is asked for by its name, with --by.
    """
    if on and by:
        raise typer.BadParameter("--on and --by exclude each other")
    direction = "downstream" if by else "upstream"

    async def ask() -> dict[str, Any]:
        query = {"depth": str(depth), "as_of": as_of, "known_at": known_at}
        path = f"/v1/services/{segment(reference)}/{direction}"
        async with service(connect(state, key_file), "dependencies") as dependencies:
            try:
                return await dependencies.document(path, query)
            except ApiError as error:
                if error.slug != NOT_FOUND.slug or not by:
                    raise
                found = await _dependents_of_external(dependencies, reference, query)
                if found is None:
                    raise
        if depth > 1:
            raise WrongUse(f"{reference} is no service: only --depth 1 is known of it.")
        return found

    answer = run(ask())
    show_json(answer) if as_json else _show_reach(answer, reference, upstream=not by)


async def _dependents_of_external(
    dependencies: Service, name: str, query: Mapping[str, str | None]
) -> dict[str, Any] | None:
    """What depends on an end that is no service, in the form of a walk; None when nothing does."""
    asked = {"to": name, "as_of": query["as_of"], "known_at": query["known_at"]}
    found = await dependencies.whole_list("/v1/dependencies", asked)
    edges = found["items"]
    if not edges:
        return None
    items = [{"depth": 1, "end": edge["from"], "through": edge} for edge in edges]
    where = {member: found.get(member) for member in ("positions", "lag_ms")}
    return {"start": edges[0]["to"], "items": items, "truncated": False, **where}


def _show_reach(answer: Mapping[str, Any], reference: str, *, upstream: bool) -> None:
    items = answer.get("items") or []
    rows = table("Steps", "Depends on" if upstream else "Dependent", "Through", "How", "Critical")
    rows.columns[0].justify = "right"
    for one in items:
        end, through = one.get("end") or {}, one.get("through") or {}
        near = through.get("from" if upstream else "to")
        rows.add_row(
            cell(one.get("depth")),
            _end(end),
            cell(_name(near) if one.get("depth") != 1 else None, "dim"),
            cell(through.get("kind")),
            cell(through.get("criticality")),
        )
    if items:
        show(rows)
    count = len(items) or "nothing"
    if answer.get("truncated"):
        count = f"{count} and more"
    who = plain(reference)
    caption(answer, f"{who} depends on {count}" if upstream else f"dependent on {who}: {count}")


def _end(end: Mapping[str, Any]) -> Text:
    form = end.get("form")
    name = cell(end.get("name"), "cyan" if form == "service" else "")
    return name if form == "service" else Text.assemble(name, (f" ({plain(form)})", "dim"))


def _name(end: Any) -> Any:
    return end.get("name") if isinstance(end, Mapping) else end
