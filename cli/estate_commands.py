"""Owns the questions about the whole estate: which services, whose, what is missing.

Must not count or filter; the services do.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.asking import run, service
from cli.connection import connect
from cli.failures import Failure
from cli.options import (
    DEFAULT_STATE,
    AsOf,
    Json,
    KeyFile,
    KnownAt,
    Limit,
    State,
)
from cli.terminal import NOTHING, caption, cell, keep_whole, plain, say, show, show_json, table
from shared.contracts.events.organisations import OrganisationKind
from shared.contracts.events.services import ServiceKind

OWNER = "owning-team"
_MOST_OWNERS = 200


class PhaseAsked(StrEnum):
    """A phase to choose services by, or that none is known."""

    DISCOVERY = "discovery"
    ALPHA = "alpha"
    BETA = "beta"
    LIVE = "live"
    RETIRING = "retiring"
    RETIRED = "retired"
    UNKNOWN = "unknown"


def services(
    owner: Annotated[
        str | None, typer.Option(metavar="REF", help="Only those of this team, or `none`.")
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(metavar="REF", help="Only those it keeps, or `none`.")
    ] = None,
    phase: Annotated[
        PhaseAsked | None, typer.Option(metavar="P", help="discovery, alpha, beta, live, …")
    ] = None,
    kind: Annotated[ServiceKind | None, typer.Option(metavar="K", help="component, api, …")] = None,
    listed: Annotated[
        bool, typer.Option("--listed", metavar="", help="Those listed now (default).")
    ] = False,
    delisted: Annotated[
        bool, typer.Option("--delisted", metavar="", help="Those no longer listed.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", metavar="", help="Listed or not.")] = False,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Those with this in their name.")
    ] = None,
    limit: Limit = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell which services there are: those that are listed, or a choice of them."""
    if listed + delisted + everything > 1:
        raise typer.BadParameter("--listed, --delisted and --all exclude each other")
    query = {
        "owner": owner,
        "organisation": organisation,
        "phase": phase,
        "kind": kind,
        "listed": "all" if everything else "false" if delisted else "true",
        "q": search,
        "as_of": as_of,
        "known_at": known_at,
    }
    _list_services(query, limit, state, key_file, as_json=as_json)


def unowned(
    limit: Limit = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell which listed services no team owns."""
    query = {"owner": "none", "listed": "true", "as_of": as_of, "known_at": known_at}
    _list_services(query, limit, state, key_file, as_json=as_json)


def _list_services(
    query: Mapping[str, str | None],
    limit: int | None,
    state: State,
    key_file: KeyFile,
    *,
    as_json: bool,
) -> None:
    async def ask() -> dict[str, Any]:
        async with service(connect(state, key_file), "registry") as registry:
            return await registry.whole_list("/v1/services", query, limit)

    answer = run(ask())
    if as_json:
        show_json(answer)
        return
    rows = table("Service", "Name", "Phase", "Owner", "Organisation")
    for one in answer["items"]:
        roles = one.get("roles") or {}
        rows.add_row(
            cell(one.get("slug"), "cyan"),
            cell(one.get("name")),
            cell(standing(one)),
            cell(party(roles.get(OWNER))),
            cell(party(one.get("organisation"))),
        )
    keep_whole(rows, 0, (one.get("slug") for one in answer["items"]))
    _show_list(rows, answer, "service")


def standing(one: Mapping[str, Any]) -> str:
    """Phase of a service, and whether it is still listed."""
    phase = plain(one.get("phase") or "unknown")
    return phase if one.get("listed", True) else f"{phase}, delisted"


def party(holder: Any) -> str:
    """Who holds something: a name, else the id, else nobody."""
    if not isinstance(holder, Mapping):
        return NOTHING
    return plain(holder.get("name") or holder.get("id"))


def _show_list(rows: Table, answer: Mapping[str, Any], noun: str) -> None:
    count = len(answer["items"])
    if count:
        show(rows)
    more = ", and there are more" if answer.get("next") else ""
    caption(answer, f"{count or 'no'} {noun}{'' if count == 1 else 's'}{more}")


def owners(
    limit: Limit = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell who owns how many services: at most the 200 who own most."""
    query = {"as_of": as_of, "known_at": known_at}

    async def ask() -> dict[str, Any]:
        async with service(connect(state, key_file), "registry") as registry:
            return await registry.whole_list("/v1/owners", query, limit or _MOST_OWNERS)

    answer = run(ask())
    if as_json:
        show_json(answer)
        return
    rows = table("Owner", "Services")
    rows.columns[1].justify = "right"
    for one in answer["items"]:
        rows.add_row(cell(party(one)), cell(one.get("services")))
    _show_list(rows, answer, "owner")


def organisations(
    kind: Annotated[
        OrganisationKind | None,
        typer.Option(metavar="K", help="department, agency, team, supplier, …"),
    ] = None,
    parent: Annotated[str | None, typer.Option(metavar="REF", help="Only parts of it.")] = None,
    limit: Limit = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell which organisations and teams there are."""
    query = {"kind": kind, "parent": parent, "as_of": as_of, "known_at": known_at}

    async def ask() -> dict[str, Any]:
        async with service(connect(state, key_file), "registry") as registry:
            return await registry.whole_list("/v1/organisations", query, limit)

    answer = run(ask())
    if as_json:
        show_json(answer)
        return
    rows = table("Organisation", "Name", "Kind", "Part of")
    for one in answer["items"]:
        rows.add_row(
            cell(one.get("slug"), "cyan"),
            cell(one.get("name")),
            cell(one.get("kind")),
            cell(party(one.get("parent"))),
        )
    keep_whole(rows, 0, (one.get("slug") for one in answer["items"]))
    _show_list(rows, answer, "organisation")


async def _both(
    state: State, key_file: KeyFile, paths: Mapping[str, str], query: Mapping[str, str | None]
) -> dict[str, Any]:
    """Ask both services; what one cannot answer is said, and None."""
    connection = connect(state, key_file)
    answers: dict[str, Any] = {}
    async with service(connection, "registry") as registry:
        answers["registry"] = await registry.document(paths["registry"], query)
    try:
        async with service(connection, "dependencies") as dependencies:
            answers["dependencies"] = await dependencies.document(paths["dependencies"], query)
    except Failure as failure:
        for line in failure.lines():
            say(line, label="Without dependencies")
        answers["dependencies"] = None
    return answers


def summary(
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell how the estate stands: counts of services and of dependencies."""
    query = {"as_of": as_of, "known_at": known_at}
    paths = {"registry": "/v1/summary", "dependencies": "/v1/summary"}
    answer = run(_both(state, key_file, paths, query))
    if as_json:
        show_json(answer)
    else:
        _show_summary(answer["registry"], answer["dependencies"])
    if answer["dependencies"] is None:
        raise typer.Exit(1)


def _show_summary(registry: Mapping[str, Any], dependencies: Mapping[str, Any] | None) -> None:
    rows = table("Estate", "")
    rows.columns[1].justify = "right"
    counts = registry.get("services") or {}
    for name, count in counts.items():
        rows.add_row(cell(_words(name)), cell(count))
    for phase, count in (registry.get("phases") or {}).items():
        if phase != "unknown":  # That is among the counts.
            rows.add_row(cell(f"in phase {phase}"), cell(count))
    for one in registry.get("organisations") or []:
        rows.add_row(cell(f"kept by {party(one)}"), cell(one.get("services")))
    if dependencies is not None:
        for name, count in dependencies.items():
            if isinstance(count, int) and name != "lag_ms":
                rows.add_row(cell(_words(name)), cell(count))
    show(rows)
    caption(registry, "services that are listed, unless it says otherwise")


def _words(name: object) -> str:
    return plain(name).replace("_", " ")


def gaps(
    limit: Limit = 10,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
    key_file: KeyFile = None,
) -> None:
    """Tell what is missing in the map: how much, and the first of each gap."""
    query = {"as_of": as_of, "known_at": known_at}
    paths = {
        "registry": f"/v1/gaps?limit={min(limit or 10, 200)}",
        "dependencies": f"/v1/unresolved?limit={min(limit or 10, 200)}",
    }
    answer = run(_both(state, key_file, paths, query))
    if as_json:
        show_json(answer)
    else:
        _show_gaps(answer["registry"], answer["dependencies"])
    if answer["dependencies"] is None:
        raise typer.Exit(1)


def _show_gaps(registry: Mapping[str, Any], dependencies: Mapping[str, Any] | None) -> None:
    rows = table("Gap", "Count", "The first of them")
    rows.columns[1].justify = "right"
    for name, gap in registry.items():
        if isinstance(gap, Mapping):
            first = [str(one.get("slug")) for one in gap.get("first") or []]
            rows.add_row(cell(_words(name)), cell(gap.get("count")), cell(", ".join(first)))
    if dependencies is not None:
        names = ", ".join(str(one.get("name")) for one in dependencies.get("items") or [])
        rows.add_row(cell("needed, not registered"), cell(dependencies.get("count")), cell(names))
    show(rows)
    caption(registry, "of each gap the first")
