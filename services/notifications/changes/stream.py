"""Owns one stream of server-sent events: what is sent when, and when the reader is given up.

Must not hold more than one chunk for a reader: who is slow is read for again, or cut.
Source: HTML Living Standard, section 9.2, server-sent events.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import web

from services.notifications.changes.feed import ChangeFeed
from services.notifications.read_models.change import Change
from services.notifications.read_models.change_filter import ChangeFilter
from services.notifications.read_models.cursor import Vector, write_cursor
from shared.database.errors import UNREACHABLE
from shared.failpoints import reach
from shared.projections.read_models import ReadModelUnavailableError

_log = structlog.get_logger(__name__)

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",
}
_LOOK_AT_CONNECTION_S: Final = 2.0
_FOLLOWED_AT_ONCE: Final = 500


class _ReaderGoneError(Exception):
    """The reader has closed the connection or was cut."""


class ChangeStream:
    """Sends one reader what it wants from a cursor on, until it goes, is cut, or time is up."""

    def __init__(
        self,
        feed: ChangeFeed,
        request: web.Request,
        response: web.StreamResponse,
        cursor: Vector,
        wanted: ChangeFilter,
    ) -> None:
        self._feed = feed
        self._limits = feed.limits
        self._request = request
        self._response = response
        self._cursor = dict(cursor)
        self._wanted = wanted
        self._number: int | None = None
        self._sent_id: str | None = None
        self._loop = asyncio.get_running_loop()
        self._beat_at = self._loop.time() + self._limits.heartbeat_s

    async def run(self) -> None:
        """Send until there is a reason to end."""
        ends_at = self._loop.time() + self._limits.stream_max_s
        try:
            await self._send(b"retry: %d\n\n" % self._limits.retry_ms)
            while not self._feed.tail.is_ending and self._loop.time() < ends_at:
                await self._go_on()
                await self._beat()
            await self._note_cursor()
        except _ReaderGoneError:
            return

    async def _go_on(self) -> None:
        """One step: from the tail when it reaches back far enough, else from the database."""
        tail = self._feed.tail
        if self._number is None:
            self._number = tail.join(self._cursor, self._wanted.logs)
            if self._number is not None:
                await self._note_cursor()
        chunk = self._followed()
        if chunk is None or self._number is None:
            self._number = None
            await self._catch_up()
        elif chunk:
            await self._send_changes(chunk)
        elif not tail.reaches(self._number):
            await self._idle(self._number)

    def _followed(self) -> bytes | None:
        """The next chunk from the tail, whose changes are let go of before it is sent."""
        if self._number is None:
            return None
        held = self._feed.tail.held(self._number, _FOLLOWED_AT_ONCE)
        if held is None:
            return None
        chunk, count = self._chunk(held)
        self._number += count
        return chunk

    async def _catch_up(self) -> None:
        try:
            page = await self._feed.catch_up(self._cursor, self._wanted)
        except (*UNREACHABLE, ReadModelUnavailableError) as error:
            _log.warning("change_stream_waits", error=repr(error))
            await asyncio.sleep(min(1.0, self._limits.heartbeat_s))
            return
        changes = page.changes
        while changes:
            chunk, count = self._chunk(changes)
            changes = changes[count:]
            await self._send_changes(chunk)
        self._cursor = dict(page.next)
        if not page.has_more and self._feed.tail.join(self._cursor, self._wanted.logs) is None:
            # The tail has not begun, or has run ahead of the generation that this was read from.
            await asyncio.sleep(self._limits.poll_interval_s)

    async def _idle(self, number: int) -> None:
        left_s = self._beat_at - self._loop.time()
        await self._feed.tail.wait(number, max(0.0, min(left_s, _LOOK_AT_CONNECTION_S)))
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise _ReaderGoneError

    def _chunk(self, changes: Sequence[Change]) -> tuple[bytes, int]:
        """Messages of the first of these changes, as many as fill a chunk; how many changes."""
        chunk = bytearray()
        count = 0
        for change in changes:
            if len(chunk) >= self._limits.chunk_bytes:
                break
            count += 1
            is_behind = change.where.position > self._cursor[change.log].position
            if not is_behind or change.log not in self._wanted.logs:
                continue
            self._cursor[change.log] = change.where
            if self._wanted.admits(change):
                chunk += self._message(change)
        return bytes(chunk), count

    def _message(self, change: Change) -> bytes:
        """One event. Canonical JSON has no line breaks, so the body is one line of data."""
        self._sent_id = write_cursor(self._cursor)
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (
            self._sent_id.encode("ascii"),
            change.type.encode(),
            change.body,
        )

    async def _beat(self) -> None:
        if self._loop.time() >= self._beat_at:
            await self._send(b": still here\n\n")
            await self._note_cursor()

    async def _note_cursor(self) -> None:
        """Tell a reader who was sent nothing how far this has looked, so that it resumes there."""
        cursor = write_cursor(self._cursor)
        if cursor != self._sent_id:
            self._sent_id = cursor
            await self._send(b"id: %s\n\n" % cursor.encode("ascii"))

    async def _send_changes(self, chunk: bytes) -> None:
        await self._send(chunk)
        if chunk:
            reach("stream.sent")

    async def _send(self, chunk: bytes) -> None:
        if not chunk:
            return
        self._beat_at = self._loop.time() + self._limits.heartbeat_s
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._response.write(chunk)
        except TimeoutError:
            _log.info("change_stream_cut", reason="the reader is too slow")
            if self._request.transport is not None:
                self._request.transport.abort()
            raise _ReaderGoneError from None
        except ConnectionError:
            raise _ReaderGoneError from None
