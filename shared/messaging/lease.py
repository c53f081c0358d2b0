"""Owns the lease by which one process at a time does a job: a row, an epoch, the database's clock.

Must not be what safety rests on: a holder may be frozen past its lease and not know it.
"""

import contextlib
from datetime import timedelta
from typing import Any, Final

import asyncpg

from shared.clock import Clock
from shared.eventstore.reader import Pool

DATABASE_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_TAKE: Final = """
UPDATE messaging.leases
SET holder = $2, epoch = epoch + 1, expires_at = clock_timestamp() + $3
WHERE name = $1 AND (expires_at < clock_timestamp() OR holder = $2)
RETURNING epoch, pg_postmaster_start_time() AS server
"""
# Committed with synchronous_commit on whatever the session's setting: by the order of the WAL,
# all that was read before is then on the standby too.
_RENEW: Final = """
UPDATE messaging.leases
SET expires_at = clock_timestamp() + $4
FROM (SELECT set_config('synchronous_commit', 'on', true) AS level) AS durable
WHERE name = $1 AND holder = $2 AND epoch = $3 AND durable.level = 'on'
RETURNING epoch, pg_postmaster_start_time() AS server
"""
_RELEASE: Final = """
UPDATE messaging.leases SET expires_at = '-infinity'
WHERE name = $1 AND holder = $2 AND epoch = $3
"""


class LeaseLostError(Exception):
    """Another process holds the lease now, or the standby did not confirm the renewal.

    Or another server answered than the one it was taken from: a pool makes its connections anew in
    silence, and a standby that was promoted may lack what was read before.
    """


class Lease:
    """One process's hold on one named job."""

    def __init__(
        self, pool: Pool, name: str, holder: str, clock: Clock, *, ttl_s: float, timeout_s: float
    ) -> None:
        self._pool = pool
        self._name = name
        self._holder = holder
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_s)
        self._timeout_s = timeout_s
        self._valid_until = float("-inf")
        self._server: object = None
        self.epoch = 0

    @property
    def valid(self) -> bool:
        """Whether nobody else can have taken it yet; also right after having been frozen."""
        return self._clock.monotonic() < self._valid_until

    @property
    def remaining_s(self) -> float:
        """Seconds for which it is still valid; negative when it is not."""
        return self._valid_until - self._clock.monotonic()

    async def take(self) -> bool:
        """Take the lease if it is free, expired or ours; each success has a new epoch."""
        asked_at = self._clock.monotonic()
        taken = await self._pool.fetchrow(
            _TAKE, self._name, self._holder, self._ttl, timeout=self._timeout_s
        )
        if taken is None:
            return False
        self._hold(asked_at)
        self.epoch, self._server = taken["epoch"], taken["server"]
        return True

    async def renew(self) -> None:
        """Extend the lease by a durable commit: the barrier.

        Raises: LeaseLostError.
        """
        asked_at = self._clock.monotonic()
        warnings: list[str] = []

        def listen(_connection: object, message: Any) -> None:
            warnings.append(str(message))

        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            connection.add_log_listener(listen)
            try:
                renewed = await connection.fetchrow(
                    _RENEW, self._name, self._holder, self.epoch, self._ttl, timeout=self._timeout_s
                )
            finally:
                connection.remove_log_listener(listen)
        # A warning is a cancelled wait for the standby: committed here, perhaps not there.
        if renewed is None or renewed["server"] != self._server or warnings:
            self._valid_until = float("-inf")
            raise LeaseLostError(self._name)
        self._hold(asked_at)

    async def renew_when_due(self, every_s: float) -> bool:
        """Renew if the last renewal is `every_s` old; tell whether it was.

        Raises: LeaseLostError.
        """
        if self.remaining_s > self._ttl.total_seconds() - every_s:
            return False
        await self.renew()
        return True

    async def release(self) -> None:
        """Give the lease up, so that another need not wait for it to expire."""
        self._valid_until = float("-inf")
        await self._pool.execute(
            _RELEASE, self._name, self._holder, self.epoch, timeout=self._timeout_s
        )

    async def give_up(self) -> None:
        """Release it if it is held and the database can be reached; else it expires by itself."""
        if self.valid:
            with contextlib.suppress(*DATABASE_ERRORS):
                await self.release()

    def _hold(self, asked_at: float) -> None:
        self._valid_until = asked_at + self._ttl.total_seconds()
