"""Owns what people call the organisations and services that are only named by id somewhere.

Must not fail: an id that the registry does not know, or cannot be asked for, stays as it is.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cli.asking import Service
from shared.contracts.names import is_id
from shared.http.client import ApiError, ApiUnreachable

_AT_ONCE: Final = 8
_CALLED: Final = {"org": ("organisations", "name"), "svc": ("services", "slug")}


class Names:
    """Names of organisations and slugs of services, each asked for once."""

    def __init__(self, registry: Service) -> None:
        self._registry = registry
        self._known: dict[str, str] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(self, documents: Iterable[Any]) -> Mapping[str, str]:
        """What is known of the ids that these documents hold, at any depth."""
        told = sorted(_texts(documents) - self._known.keys())
        wanted = [(text, prefix) for text in told for prefix in _CALLED if is_id(text, prefix)]
        await asyncio.gather(*(self._ask(text, *_CALLED[prefix]) for text, prefix in wanted))
        return self._known

    async def _ask(self, identity: str, path: str, member: str) -> None:
        try:
            async with self._slots:
                answer = await self._registry.document(f"/v1/{path}/{identity}", {})
        except (ApiError, ApiUnreachable):
            return
        self._known[identity] = str(answer.get(member) or identity)


def _texts(values: Iterable[Any]) -> set[str]:
    texts: set[str] = set()
    for value in values:
        if isinstance(value, Mapping):
            texts |= _texts(value.values())
        elif isinstance(value, list):
            texts |= _texts(value)
        elif isinstance(value, str):
            texts.add(value)
    return texts
