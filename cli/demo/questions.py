"""Owns what a head of service would ask, and every figure of the demo's report.

Must ask the services as anybody else does: figures come from answers, never from the source.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from cli.demo.sources import Plan, Source
from shared.clock import Clock
from shared.contracts.names import parse_positions
from shared.http.client import ApiClient, ApiError

PRODUCT_MANAGERS_BEFORE: Final = date(2017, 12, 31)
PRODUCT_MANAGERS_AFTER: Final = date(2018, 1, 31)
UNOWNED_ON: Final = date(2017, 6, 30)
_POLL_S: Final = 0.1
_SERVICE_REGISTERED: Final = "estate.service.registered.v1"
_ASSIGNED: Final = "estate.service.role_assigned.v1"


@dataclass(frozen=True, slots=True)
class Clients:
    """The three services, asked as an operator."""

    registry: ApiClient
    dependencies: ApiClient
    notifications: ApiClient


async def ask_everything(
    clients: Clients, plan: Plan, as_of: date | None, clock: Clock
) -> dict[str, Any]:
    """Ask every question of the demo, about `as_of` or today; the answer is the report's body."""
    then = {} if as_of is None else {"as_of": as_of.isoformat()}
    changes = [change async for change in _changes(clients.notifications)]
    last_day = as_of or clock.now().date()
    summary = (await clients.registry.get("/v1/summary", then)).json()
    owners = (await clients.registry.get("/v1/owners", {**then, "limit": "10"})).json()
    graph = (await clients.dependencies.get("/v1/summary", {**then, "limit": "5"})).json()
    organisations = pages(clients.registry, "/v1/organisations", {**then, "limit": "200"})
    return {
        "as_of": None if as_of is None else as_of.isoformat(),
        "sources": {source.name: _source(source, changes) for source in (plan.repos, plan.docker)},
        "services_known": summary["services"]["known"],
        "services_listed": summary["services"]["listed"],
        "services_delisted": summary["services"]["delisted"],
        "services_without_owner": summary["services"]["no_owner"],
        "organisations": len([one async for one in organisations]),
        "owners": [{"name": one["name"], "services": one["services"]} for one in owners["items"]],
        "unowned_on_a_past_day": await _unowned(clients, plan, UNOWNED_ON),
        "product_managers": [
            await _product_managers(clients, day)
            for day in (PRODUCT_MANAGERS_BEFORE, PRODUCT_MANAGERS_AFTER)
        ],
        "largest_owner_change": await _largest_owner_change(clients, changes, last_day),
        **_graph(graph),
        "not_known_then": await _not_known_then(
            clients, _oldest(changes), day_before_import(changes)
        ),
        "positions": {"registry": summary["positions"], "dependencies": graph["positions"]},
    }


async def await_caught_up(clients: Clients) -> None:
    """Wait until every read model reflects both logs to their present ends."""
    ends = []
    for client in (clients.registry, clients.dependencies):
        log = (await client.get("/v1/log")).json()
        ends.append(f"{log['log']}:{log['position']}")
    await clients.registry.get("/v1/summary", {"min_position": ends[0]})
    await clients.dependencies.get("/v1/summary", {"min_position": ",".join(ends)})
    wanted = {end.log: end.position for end in parse_positions(",".join(ends))}
    while not await _reflects(clients.notifications, wanted):
        await asyncio.sleep(_POLL_S)


async def _reflects(notifications: ApiClient, wanted: dict[str, int]) -> bool:
    page = (await notifications.get("/v1/changes", {"limit": "1"})).json()
    reflected = {one.log: one.position for one in parse_positions(page["positions"])}
    return all(reflected.get(log, 0) >= position for log, position in wanted.items())


async def _changes(notifications: ApiClient) -> AsyncIterator[dict[str, Any]]:
    """Every event of both logs, from the first on, out of the change feed."""
    query = {"limit": "200"}
    while True:
        page = (await notifications.get("/v1/changes", query)).json()
        for item in page["items"]:
            yield item["event"]
        if not page["items"]:
            return
        query["after"] = page["next"]


def _source(source: Source, changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows read from the file, and the events in the log that came of its rows."""
    planned = {one.id for row in source.rows for one in row.submissions}
    events = sum(_submission(change, source.name) in planned for change in changes)
    return {
        "rows": len(source.rows),
        "events": events,
        "rows_without_event": sum(source.reasons.values()),
        "rows_without_event_by_reason": source.reasons,
    }


def _submission(change: dict[str, Any], source: str) -> str | None:
    """The id of the submission of this source that an event came of."""
    parts = change["causationid"].split(":", 3)
    is_ours = parts[0] == "submission" and parts[2] == source
    return parts[3] if is_ours else None


async def _unowned(clients: Clients, plan: Plan, day: date) -> dict[str, Any]:
    first = plan.repos.rows[0].date.date()
    day = max(day, first)
    answer = (await clients.registry.get("/v1/gaps", {"as_of": day.isoformat()})).json()
    gap = answer["no_owner"]
    return {
        "date": day.isoformat(),
        "services": gap["count"],
        "first": [one["slug"] for one in gap["first"][:5]],
    }


async def _product_managers(clients: Clients, day: date) -> dict[str, Any]:
    listed = with_manager = 0
    people = set()
    query = {"as_of": day.isoformat(), "limit": "200"}
    async for service in pages(clients.registry, "/v1/services", query):
        listed += 1
        manager = service["roles"].get("product-manager")
        if manager is not None:
            with_manager += 1
            people.add(manager["id"])
    return {
        "date": day.isoformat(),
        "services_listed": listed,
        "with_product_manager": with_manager,
        "people": len(people),
    }


async def pages(
    client: ApiClient, path: str, query: dict[str, str]
) -> AsyncIterator[dict[str, Any]]:
    """Every item of a list, over all its pages."""
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(path, query | ({"cursor": cursor} if cursor else {}))).json()
        for item in page["items"]:
            yield item
        cursor = page["next"]


async def _largest_owner_change(
    clients: Clients, changes: list[dict[str, Any]], until: date
) -> dict[str, Any] | None:
    """The commit that handed most services from one owning team to another."""
    commits: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for change in changes:
        data = change.get("data", {})
        is_hand_over = (
            change["type"] == _ASSIGNED
            and data["role"] == "owning-team"
            and data["previous_holder"] is not None
            and change["time"][:10] <= until.isoformat()
        )
        if is_hand_over:
            commits[change["correlationid"]].append(change)
    if not commits:
        return None
    largest = max(commits.values(), key=len)
    pairs = Counter((c["data"]["previous_holder"], c["data"]["holder"]) for c in largest)
    (before, after), count = pairs.most_common(1)[0]
    return {
        "date": largest[0]["time"][:10],
        "services": len({change["subject"] for change in largest}),
        "commit": largest[0]["correlationid"],
        "main_hand_over": {
            "from": await _name(clients, before),
            "to": await _name(clients, after),
            "services": count,
        },
    }


async def _name(clients: Clients, organisation: str) -> str:
    return str((await clients.registry.get(f"/v1/organisations/{organisation}")).json()["name"])


def _graph(graph: dict[str, Any]) -> dict[str, Any]:
    most = graph["most_depended_upon"]
    services = most.get("service", []) + most.get("unresolved", [])
    services.sort(key=lambda one: (-one["dependents"], one["name"]))
    infrastructure = most.get("infrastructure", [])
    return {
        "dependencies": graph["dependencies"],
        "dependencies_on": graph["dependencies_on"],
        "most_depended_upon": _top(services),
        "most_depended_upon_infrastructure": _top(infrastructure),
        "resolved_ends": graph["resolved_ends"],
        "unresolved_ends": graph["unresolved_ends"],
        "ends": graph["ends"],
    }


def _top(ends: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"name": ends[0]["name"], "dependents": ends[0]["dependents"]} if ends else None


def day_before_import(changes: list[dict[str, Any]]) -> date:
    """The day before the import began to be recorded."""
    first = min(change["recordedtime"] for change in changes)
    return date.fromisoformat(first[:10]) - timedelta(days=1)


async def _not_known_then(clients: Clients, slug: str, day: date) -> dict[str, Any]:
    """Asked what we knew before this import, the registry says that it knew nothing."""
    asked = {"service": slug, "known_at": day.isoformat()}
    try:
        await clients.registry.get(f"/v1/services/{slug}", {"known_at": asked["known_at"]})
    except ApiError as error:
        return {**asked, "answer": error.slug}
    return {**asked, "answer": "known"}


def _oldest(changes: list[dict[str, Any]]) -> str:
    """The slug of the service that is known for longest and changed most since."""
    registered = [one for one in changes if one["type"] == _SERVICE_REGISTERED]
    first_day = min(one["time"][:10] for one in registered)
    changed = Counter(one["subject"] for one in changes)
    oldest = [one for one in registered if one["time"][:10] == first_day]
    return str(max(oldest, key=lambda one: changed[one["subject"]])["data"]["slug"])
