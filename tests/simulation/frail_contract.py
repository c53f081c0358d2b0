"""Owns what a database must do when it is hurt, whether real or simulated.

Must only hurt it by what is handed in. Whoever runs this brings the fixture `frail`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from shared.clock import Clock
from shared.database.errors import UNREACHABLE
from shared.eventstore import append
from shared.eventstore.append import Connection
from shared.eventstore.reader import Pool
from shared.messaging import relay_log
from shared.messaging.lease import Lease, LeaseLostError
from shared.messaging.relay_log import RelayLog

_TIMEOUT_S = 10.0
_CRASHES = 10


@dataclass(frozen=True)
class Frail:
    """A database with an empty log on a server that may be hurt, and what may be done to it.

    `connect` takes the session's synchronous_commit. `without_standby` lets
    commits wait for a standby that is not there, until the block ends. `terminate` and `cancel`
    are done to one session by another; `crash` returns when the server has come back.
    """

    pool: Pool
    clock: Clock
    connect: Callable[[str], Awaitable[Connection]]
    without_standby: Callable[[], AbstractAsyncContextManager[None]]
    is_waiting: Callable[[Connection], Awaitable[bool]]
    terminate: Callable[[Connection], Awaitable[None]]
    cancel: Callable[[Connection], Awaitable[None]]
    crash: Callable[[], Awaitable[None]]

    @property
    def log(self) -> RelayLog:
        return RelayLog(self.pool, timeout_s=_TIMEOUT_S)

    async def wrote(self, number: int) -> Connection:
        """A connection with a write of its own that is not committed."""
        connection = await self.connect("on")
        await connection.execute("BEGIN")
        await connection.execute(relay_log._NOTE_PUBLISHED, number, 1)
        return connection

    async def is_there(self, number: int) -> bool:
        """Whether such a write was committed, as a new connection sees it."""
        return await self.log.published(number) == 1

    async def waiting(self, connection: Connection) -> "asyncio.Task[str]":
        """A COMMIT that waits for the standby."""
        committing = asyncio.create_task(connection.execute("COMMIT"))
        async with asyncio.timeout(_TIMEOUT_S):
            while not await self.is_waiting(connection):
                await asyncio.sleep(0.01)
        return committing


async def fails(connection: Connection) -> None:
    """Make sure that nothing more comes of a connection."""
    with pytest.raises(UNREACHABLE):
        await connection.fetchval(relay_log._PUBLISHED, 1, timeout=_TIMEOUT_S)
    assert connection.is_closed()


class FrailContract:
    """The tests; each gets a database of its own."""

    async def test_a_connection_that_is_cut_before_commit_leaves_nothing(
        self, frail: Frail
    ) -> None:
        connection = await frail.wrote(1)
        await frail.terminate(connection)
        with pytest.raises(UNREACHABLE):
            await connection.execute("COMMIT")
        await fails(connection)
        assert not await frail.is_there(1)

    async def test_what_came_of_a_commit_that_was_cut_is_told_by_a_new_connection(
        self, frail: Frail
    ) -> None:
        for number in range(1, 9):
            connection = await frail.wrote(number)
            committing = asyncio.create_task(connection.execute("COMMIT"))
            await asyncio.sleep(0.0002 * number)
            await frail.terminate(connection)
            await asyncio.wait({committing})
            error = committing.exception()
            assert error is None or isinstance(error, UNREACHABLE)
            await fails(connection)
            found = await frail.is_there(number)
            assert found or error
            assert await frail.is_there(number) == found

    async def test_a_commit_that_is_cut_while_it_waits_for_the_standby_is_there_unanswered(
        self, frail: Frail
    ) -> None:
        connection = await frail.wrote(1)
        async with frail.without_standby():
            committing = await frail.waiting(connection)
            await frail.terminate(connection)
            await asyncio.wait({committing}, timeout=_TIMEOUT_S / 2)
            assert isinstance(committing.exception(), UNREACHABLE)
            await fails(connection)
            assert await frail.is_there(1)

    async def test_a_commit_waits_for_the_standby_and_is_not_seen_until_then(
        self, frail: Frail
    ) -> None:
        connection = await frail.wrote(1)
        async with frail.without_standby():
            committing = await frail.waiting(connection)
            assert not await frail.is_there(1)
            assert not committing.done()
        await asyncio.wait_for(committing, _TIMEOUT_S)
        assert await frail.is_there(1)
        connection.terminate()

    async def test_a_cancelled_wait_for_the_standby_warns_and_is_committed_here(
        self, frail: Frail
    ) -> None:
        connection = await frail.wrote(1)
        warnings: list[str] = []

        def listen(_connection: object, message: object) -> None:
            warnings.append(str(message))

        connection.add_log_listener(listen)
        async with frail.without_standby():
            committing = await frail.waiting(connection)
            await frail.cancel(connection)
            await asyncio.wait_for(committing, _TIMEOUT_S)
            assert await frail.is_there(1)
        assert len(warnings) == 1
        assert "canceling wait for synchronous replication" in warnings[0]
        connection.terminate()

    async def test_a_lease_is_lost_when_no_standby_confirms_its_renewal(self, frail: Frail) -> None:
        lease = Lease(frail.pool, "relay", "me", frail.clock, ttl_s=60.0, timeout_s=0.5)
        assert await lease.take()
        async with frail.without_standby():
            with pytest.raises((LeaseLostError, TimeoutError)):
                await lease.renew()
        await lease.renew()

    async def test_who_waits_for_the_gate_has_it_when_its_holder_is_ended(
        self, frail: Frail
    ) -> None:
        holder, other = await frail.connect("on"), await frail.connect("on")
        await append.open_gate(holder, _TIMEOUT_S, 60.0)
        await holder.execute(relay_log._NOTE_PUBLISHED, 1, 1)
        opening = asyncio.create_task(append.open_gate(other, _TIMEOUT_S, 60.0))
        await asyncio.sleep(0.05)
        assert not opening.done()
        await frail.terminate(holder)
        await opening
        assert await other.fetchval(relay_log._PUBLISHED, 1) is None
        await other.execute("COMMIT")
        await fails(holder)
        other.terminate()

    async def test_who_is_ended_while_waiting_for_the_gate_never_has_it(self, frail: Frail) -> None:
        holder, other, third = [await frail.connect("on") for _ in range(3)]
        await append.open_gate(holder, _TIMEOUT_S, 60.0)
        opening = asyncio.create_task(append.open_gate(other, _TIMEOUT_S, 60.0))
        await asyncio.sleep(0.05)
        await frail.terminate(other)
        await asyncio.wait({opening}, timeout=_TIMEOUT_S / 2)
        assert isinstance(opening.exception(), UNREACHABLE)
        await fails(other)
        await holder.execute("COMMIT")
        await append.open_gate(third, _TIMEOUT_S, 60.0)
        for connection in (holder, third):
            connection.terminate()

    async def test_a_crash_loses_only_the_last_of_what_was_not_flushed(self, frail: Frail) -> None:
        """And it does lose some, sooner or later."""
        for crash in range(_CRASHES):
            durable = await frail.wrote(base := 100 * (crash + 1))
            await durable.execute("COMMIT")
            relaxed = await frail.connect("off")
            hasty = range(base + 1, base + 5)
            for number in hasty:
                await relaxed.execute(relay_log._NOTE_PUBLISHED, number, 1)
                assert await frail.is_there(number)
            await frail.crash()
            for connection in (durable, relaxed):
                await fails(connection)
            assert await frail.is_there(base)
            kept = [await frail.is_there(number) for number in hasty]
            assert kept == sorted(kept, reverse=True)
            if not all(kept):
                return
        pytest.fail(f"nothing was lost in {_CRASHES} crashes")

    async def test_a_crash_undoes_what_was_not_committed_and_frees_what_was_held(
        self, frail: Frail
    ) -> None:
        holder = await frail.connect("on")
        await append.open_gate(holder, _TIMEOUT_S, 60.0)
        await holder.execute(relay_log._NOTE_PUBLISHED, 1, 1)
        await frail.crash()
        await fails(holder)
        other = await frail.connect("on")
        await append.open_gate(other, _TIMEOUT_S, 60.0)
        assert not await frail.is_there(1)
        other.terminate()

    async def test_a_lease_of_before_a_crash_is_lost(self, frail: Frail) -> None:
        lease = Lease(frail.pool, "relay", "me", frail.clock, ttl_s=60.0, timeout_s=_TIMEOUT_S)
        assert await lease.take()
        await lease.renew()
        await frail.crash()
        with pytest.raises(LeaseLostError):
            await lease.renew()
        assert await lease.take()
