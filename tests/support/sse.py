"""A reader of server-sent events, as small as the standard allows."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

KEY = {"Authorization": "Bearer audit"}
DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Block:
    """What came between two empty lines; `data` is None when there was none."""

    fields: Mapping[str, str]

    @property
    def id(self) -> str | None:
        return self.fields.get("id")

    @property
    def event(self) -> Any:
        return orjson.loads(self.fields["data"])

    @property
    def is_message(self) -> bool:
        return "data" in self.fields


class SseReader:
    def __init__(self, response: aiohttp.ClientResponse, last_id: str | None) -> None:
        self.response = response
        self.last_id = last_id

    async def block(self) -> Block | None:
        """The next block, None at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            async with asyncio.timeout(DEADLINE_S):
                line = (await self.response.content.readline()).decode()
            if not line:
                return None
            if line == "\n":
                break
            name, _, value = line[:-1].partition(":")
            assert name not in fields
            fields[name] = value.removeprefix(" ")
        self.last_id = fields.get("id", self.last_id)
        return Block(fields)

    async def message(self) -> Block:
        """The next block that has data."""
        while True:
            block = await self.block()
            assert block is not None, "the stream ended"
            if block.is_message:
                return block


@asynccontextmanager
async def reading(
    caller: aiohttp.ClientSession,
    last_id: str | None = None,
    **parameters: str,
) -> AsyncIterator[SseReader]:
    headers = KEY | ({} if last_id is None else {"Last-Event-ID": last_id})
    timeout = aiohttp.ClientTimeout(total=None)
    async with caller.get(
        "/v1/changes/stream",
        params=parameters,
        headers=headers,
        timeout=timeout,
        read_bufsize=2**20,
    ) as response:
        assert response.status == 200, await response.text()
        try:
            yield SseReader(response, last_id)
        finally:
            response.close()
