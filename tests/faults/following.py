"""Owns a reader of the change feed that goes on through every fault, from where it was.

Must not skip or repeat by itself: what it writes down is what the feed delivered.
"""

import asyncio
from pathlib import Path
from typing import Final

import orjson

from tests.faults.sending import Sender

_PAUSE_S: Final = 0.3


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


def last_cursor(path: Path) -> str | None:
    """Where an earlier run of the follower had come to."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return orjson.loads(lines[-1])["next"] if lines else None
