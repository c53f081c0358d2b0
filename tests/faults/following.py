"""Owns readers of the change feed, by pages and by stream, that go on through every fault.

Must not skip or repeat by itself: what it writes down is what the feed delivered.
"""

import asyncio
import contextlib
from io import FileIO
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from shared.contracts.envelope import SOURCE_PREFIX
from shared.contracts.names import parse_positions
from shared.contracts.topics import LOGS
from tests.faults.sending import Sender
from tests.support.sse import SseReader

_PAUSE_S: Final = 0.3
_LINE_MAX_BYTES: Final = 2**20
_CATCH_UP_S: Final = 30.0


async def follow(sender: Sender, path: Path) -> None:
    """Pull until cancelled; each line is a page: the cursor behind it, and what it held."""
    cursor = last_cursor(path)
    with path.open("ab", buffering=0) as file:
        while True:
            headers = {"Authorization": f"Bearer {sender.keys['admin']}"}
            after = "" if cursor is None else f"&after={cursor}"
            url = f"{sender.urls['notifications'][0]}/v1/changes?limit=200{after}"
            answer = await sender.ask("GET", url, headers)
            page = answer.document if answer is not None and answer.status == 200 else None
            if page is not None and page["items"]:
                positions = [item["position"] for item in page["items"]]
                cursor = page["next"]
                file.write(orjson.dumps({"next": cursor, "positions": positions}) + b"\n")
            else:
                await asyncio.sleep(_PAUSE_S)


async def follow_stream(sender: Sender, path: Path) -> None:
    """Read the stream until cancelled, opening it again behind the last event; a line an event."""
    with path.open("ab", buffering=0) as file:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                await _follow_one(sender, last_cursor(path), file)
            await asyncio.sleep(_PAUSE_S)


async def _follow_one(sender: Sender, cursor: str | None, file: FileIO) -> None:
    """Write down what one stream sends, until it ends."""
    url = f"{sender.urls['notifications'][0]}/v1/changes/stream"
    headers = {"Authorization": f"Bearer {sender.keys['admin']}"}
    headers |= {} if cursor is None else {"Last-Event-ID": cursor}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)
    async with sender.session.get(
        url, headers=headers, timeout=timeout, read_bufsize=_LINE_MAX_BYTES
    ) as response:
        reader = SseReader(response, cursor)
        while response.status == 200 and (block := await reader.block()) is not None:
            if block.is_message:
                log = block.event["source"].removeprefix(SOURCE_PREFIX)
                positions = [f"{log}:{block.event['position']}"]
                file.write(orjson.dumps({"next": block.id, "positions": positions}) + b"\n")


async def note_end(sender: Sender, path: Path) -> None:
    """Give a follower time to get what the logs hold now, then write down where they ended.

    Nothing is written when a log does not say where it ends.
    """
    headers = {"Authorization": f"Bearer {sender.keys['admin']}"}
    ends = {}
    for log in LOGS:
        answer = await sender.ask("GET", f"{sender.urls[log][0]}/v1/log", headers)
        if answer is None or answer.status != 200:
            return
        ends[log] = answer.document["position"]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CATCH_UP_S):
            while any(reached(path)[log] < end for log, end in ends.items()):
                await asyncio.sleep(_PAUSE_S)
    line: dict[str, Any] = {"next": last_cursor(path), "positions": [], "ends": ends}
    with path.open("ab", buffering=0) as file:
        file.write(orjson.dumps(line) + b"\n")


def reached(path: Path) -> dict[str, int]:
    """The last position of each log that the follower was sent."""
    found = dict.fromkeys(LOGS, 0)
    for line in path.read_bytes().splitlines() if path.exists() else []:
        for text in orjson.loads(line)["positions"]:
            (at,) = parse_positions(text)
            found[at.log] = at.position
    return found


def last_cursor(path: Path) -> str | None:
    """Where an earlier run of the follower had come to."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return orjson.loads(lines[-1])["next"] if lines else None
