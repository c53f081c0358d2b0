"""Owns speaking HTTP byte for byte, so that an attack arrives as it was written.

Must not correct, encode or repeat anything.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """What came back: status 0 when the connection ended without an answer, -1 when none came."""

    status: int
    raw: bytes

    @property
    def head(self) -> bytes:
        """The status line and the headers."""
        return self.raw.partition(b"\r\n\r\n")[0]


def request(
    method: str,
    path: bytes | str,
    *,
    key: str | None = None,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request that closes its connection; nothing in it is escaped."""
    target = path if isinstance(path, bytes) else path.encode("utf-8", "surrogatepass")
    lines = ["Host: estate", "Connection: close"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    given = {"Content-Type": "application/json", **(headers or {})} if body else headers or {}
    lines += [f"{name}: {value}" for name, value in given.items()]
    head = "\r\n".join(lines).encode("utf-8", "surrogatepass")
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + head + b"\r\n\r\n" + body


async def send(port: int, raw: bytes, *, wait_s: float = 15.0, whole: bool = True) -> WireAnswer:
    """Send bytes on a connection of their own; read to its end, or its first bytes only."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received, ended = bytearray(), True
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        try:
            async with asyncio.timeout(wait_s):
                while chunk := await reader.read(1 << 16):
                    received += chunk
                    if not whole:
                        break
        except TimeoutError:
            ended = False
        except ConnectionError:
            pass
    finally:
        writer.transport.abort()
    match = _STATUS.match(received)
    none = 0 if ended else -1
    return WireAnswer(none if match is None else int(match[1]), bytes(received))
