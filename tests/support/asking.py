"""Owns asking a running estate as any operator does: every page, every service.

Must not know where the answers come from.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from shared.http.client import ApiClient


@dataclass(frozen=True, slots=True)
class Asker:
    """The three services, asked with one key."""

    registry: ApiClient
    dependencies: ApiClient
    notifications: ApiClient

    async def services(self, **query: str) -> dict[str, dict[str, Any]]:
        """The services of a list, by name."""
        items = await every_item(self.registry, "/v1/services", query)
        return by_unique(items, "name")

    async def edges(self, **query: str) -> list[dict[str, Any]]:
        """Every dependency of a list."""
        return await every_item(self.dependencies, "/v1/dependencies", query)

    async def heads(self) -> dict[str, tuple[int, str]]:
        """Where each log ends: its position and its root."""
        logs = [(await one.get("/v1/log")).json() for one in (self.registry, self.dependencies)]
        return {log["log"]: (log["position"], log["root"]) for log in logs}

    async def changes(self) -> list[dict[str, Any]]:
        """Every event of the change feed, from the first on."""
        query = {"limit": "200"}
        events: list[dict[str, Any]] = []
        while True:
            page = (await self.notifications.get("/v1/changes", query)).json()
            if not page["items"]:
                return events
            events += [item["event"] for item in page["items"]]
            query["after"] = page["next"]


@asynccontextmanager
async def asking(urls: Mapping[str, str], key: str) -> AsyncIterator[Asker]:
    """Ask the services at these addresses."""
    async with AsyncExitStack() as stack:
        yield Asker(
            **{
                name: await stack.enter_async_context(ApiClient(urls[name], key, deadline_s=60))
                for name in ("registry", "dependencies", "notifications")
            }
        )


async def every_item(client: ApiClient, path: str, query: Mapping[str, str]) -> list[Any]:
    """Every item of a list, over all its pages."""
    items: list[Any] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        cursor = {"cursor": page["next"]} if page["next"] else {}
        page = (await client.get(path, {"limit": "200", **query, **cursor})).json()
        items += page["items"]
    return items


def by_unique(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The items by a member that no two share."""
    found = {item[name]: item for item in items}
    assert len(found) == len(items)
    return found
