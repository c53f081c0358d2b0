"""Owns a database that lives in memory: transactions, row locks, a write-ahead log, a standby.

Must not know any statement: what one does is handed in, as a function on the session.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

import asyncpg

from tests.simulation.fake_session import BlockedError, Key, Row, Session
from tests.simulation.network import Fate, Network, answer
from tests.simulation.virtual_time import PROCESS, instant

Statement: TypeAlias = Callable[[Session], Any]

STANDBY_WARNING = "canceling wait for synchronous replication due to user request"


@dataclass(eq=False, slots=True)
class _Request:
    session: Session
    name: str
    run: Statement
    answered: "asyncio.Future[Any]"
    context: Context
    timeout_s: float | None
    state: str = "under way"
    blocked_on: Hashable = None
    answer_lost: bool = False
    is_watched: bool = False
    result: Any = None


class FakeDatabase:
    """One server with one synchronous standby.

    A commit is in the write-ahead log first. What is `durable` there survives the loss of the
    server, what is `flushed` its crash; the rest may be lost. A commit that waits for the standby
    is not seen by others until then, or until its wait is cancelled.
    """

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self.tables: dict[Hashable, dict[Any, Row]] = {}
        self.locks: dict[Hashable, Session] = {}
        self.sessions: dict[Session, None] = {}
        self.server = 1
        self.down = False
        self.standby_away = False
        self.skew_s = 0.0
        self.unknown: list[str] = []
        self._wal: list[dict[Key, Row | None]] = []
        self._flushed = 0
        self._durable = 0
        self._blocked: dict[Hashable, list[_Request]] = {}
        self._committing: list[_Request] = []

    def now(self) -> datetime:
        """The server's clock."""
        return instant(self.network.loop.time() + self.skew_s)

    def load(self, table: Hashable, rows: dict[Any, Row]) -> None:
        """Put rows in place before anybody connects."""
        writes: dict[Key, Row | None] = {(table, key): row for key, row in rows.items()}
        self._wal.append(writes)
        self._apply(writes)
        self._flushed = self._durable = len(self._wal)

    async def connect(self, **settings: Any) -> Session:
        """Begin a session.

        Raises: ConnectionRefusedError.
        """
        if delay_s := self.network.delay_s():
            await asyncio.sleep(delay_s)
        return self.take(**settings)

    def take(self, **settings: Any) -> Session:
        """Begin a session at once, as on a connection that a pool had.

        Raises: ConnectionRefusedError.
        """
        if self.down:
            raise ConnectionRefusedError(self.name)
        session = Session(self, PROCESS.get(), **settings)
        self.sessions[session] = None
        return session

    async def ask(
        self, session: Session, name: str, run: Statement, timeout_s: float | None
    ) -> Any:
        """Send a statement and return its answer."""
        loop = self.network.loop
        session.asked += 1
        request = _Request(session, name, run, loop.create_future(), copy_context(), timeout_s)
        now = loop.time()
        session.busy_until = max(now + self.network.delay_s(), session.busy_until)
        self.network.at_server(session.busy_until - now, self._arrive, request)
        if timeout_s is not None and session.busy_until - now > timeout_s:
            self._watch(request)
        try:
            return await request.answered
        except asyncio.CancelledError:
            self._given_up(request)
            raise

    def give_up(self, session: Session) -> None:
        """The client has closed its connection, or died; the server will notice."""
        if session.asked or session.in_transaction:
            self.network.at_server(self.network.delay_s(), self.end, session)
        else:
            self.sessions.pop(session, None)

    def end_holder(self, key: Hashable, longer_than_s: float) -> bool:
        """End who holds something for too long; not one that waits for the standby."""
        holder = self.locks.get(key)
        if holder is None or self.is_waiting(holder):
            return False
        if (holder.began_at or 0.0) >= self.network.loop.time() - longer_than_s:
            return False
        self.network.note(f"{self.name} {holder.process} ended by another")
        self.end(holder)
        return True

    def terminate(self, session: Session) -> None:
        """End a session by force; one that waits for the standby is then committed without it."""
        for request in self._committing[:]:
            if request.session is session:
                request.answer_lost = True
                self._cancel_wait(request)
        for request in [*chain(*self._blocked.values())]:
            if request.session is session:
                self._unblock(request)
                self._tell(request, _gone())
        self.end(session)

    def end(self, session: Session) -> None:
        """End a session; what it did not commit is undone."""
        if session.broken:
            return
        session.broken = True
        self.sessions.pop(session, None)
        if not self.is_waiting(session):
            self._release(session)

    def set_standby(self, *, away: bool) -> None:
        """Let the standby go, or come back: then it has all, and those who waited are answered."""
        self.standby_away = away
        if not away:
            self._durable = len(self._wal)
            for request in self._committing[:]:
                self._committed(request)

    def is_waiting(self, session: Session) -> bool:
        """Whether a commit of a session waits for the standby."""
        return any(request.session is session for request in self._committing)

    def cancel_waits(self, name: str = "") -> None:
        """Let those go who wait for the standby: visible here, perhaps not there.

        With a name, only those whose last statement is called so.
        """
        for request in self._committing[:]:
            if name in request.name:
                self._cancel_wait(request)

    def crash(self, *, fail_over: bool) -> None:
        """Lose the process, and with it what was not flushed; or the server, for its standby."""
        kept_for_sure = self._durable if fail_over else self._flushed
        kept = kept_for_sure
        if self.network.chance.random() < 0.5:
            kept = self.network.chance.randint(kept_for_sure, len(self._wal))
        self.network.note(f"{self.name} keeps {kept} of {len(self._wal)} commits")
        for session in list(self.sessions):
            session.broken = True
        self.sessions.clear()
        self.locks.clear()
        for request in (*chain(*self._blocked.values()), *self._committing):
            self._tell(request, _gone())
        self._blocked.clear()
        self._committing.clear()
        self.server += 1
        del self._wal[kept:]
        self._flushed = self._durable = kept
        self.tables.clear()
        for writes in self._wal:
            self._apply(writes)

    def _arrive(self, request: _Request) -> None:
        session = request.session
        if self.down or session.broken:
            self.end(session)
            self._tell(request, _gone())
            return
        if request.state == "cancelled":
            session.failed = session.in_transaction
            session.asked -= 1
            return
        fate = self.network.fate()
        if fate is Fate.LOST:
            self.network.note(f"{self.name} {session.process} {request.name} lost")
            self.end(session)
            self._tell(request, _gone())
            return
        request.answer_lost = fate is Fate.ANSWER_LOST
        self._attempt(request)

    def _attempt(self, request: _Request) -> None:
        session = request.session
        if session.broken:
            self._tell(request, _gone())
            return
        try:
            if session.failed and request.name not in {"ROLLBACK", "COMMIT"}:
                raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
            request.result = request.run(session)
        except BlockedError as blocked:
            self._block(request, blocked.key)
            return
        except asyncpg.PostgresError as error:
            self._fail(session)
            self._tell(request, error)
            return
        self.network.note(f"{self.name} {session.process} {request.name}")
        if session.in_transaction:
            self._watch_transaction(session)
            self._reply(request)
        else:
            self._commit(request)

    def _block(self, request: _Request, key: Hashable) -> None:
        request.blocked_on = key
        self._blocked.setdefault(key, []).append(request)
        self._watch(request)
        if request.session.lock_timeout_s is not None and request.state == "under way":
            request.state = "timed"
            self.network.at_server(request.session.lock_timeout_s, self._lock_timeout, request)

    def _watch(self, request: _Request) -> None:
        """Let a client's patience end; for what is answered at once there is no need."""
        if request.timeout_s is not None and not request.is_watched:
            request.is_watched = True
            loop = self.network.loop
            loop.call_later(request.timeout_s, self._time_out, request, context=request.context)

    def _time_out(self, request: _Request) -> None:
        if not request.answered.done():
            answer(request.answered, TimeoutError())
            self._given_up(request)

    def _unblock(self, request: _Request) -> bool:
        waiting = self._blocked.get(request.blocked_on, [])
        if request not in waiting:
            return False
        waiting.remove(request)
        return True

    def _lock_timeout(self, request: _Request) -> None:
        if self._unblock(request):
            self._fail(request.session)
            self._tell(request, asyncpg.LockNotAvailableError("lock timeout"))

    def _watch_transaction(self, session: Session) -> None:
        """Note when a transaction began, and end the session when it takes too long."""
        if session.began_at is not None:
            return
        began_at = session.began_at = self.network.loop.time()
        if session.transaction_timeout_s is not None:
            timeout_s = session.transaction_timeout_s
            self.network.at_server(timeout_s, self._end_transaction, session, began_at)

    def _end_transaction(self, session: Session, began_at: float) -> None:
        if session.began_at == began_at and not session.broken:
            self.network.note(f"{self.name} {session.process} transaction timeout")
            self.end(session)

    def _fail(self, session: Session) -> None:
        """A statement has failed: of its transaction nothing is left, but it must be ended."""
        if session.in_transaction:
            session.failed = True
        else:
            self._release(session)

    def _commit(self, request: _Request) -> None:
        session = request.session
        if session.writes:
            self._wal.append(session.writes)
            if session.is_durable:
                self._flushed = len(self._wal)
                if self.standby_away:
                    self._committing.append(request)
                    self._watch(request)
                    return
                self._durable = len(self._wal)
        self._committed(request)

    def _committed(self, request: _Request) -> None:
        if request in self._committing:
            self._committing.remove(request)
        self._apply(request.session.writes)
        self._release(request.session)
        self._reply(request)

    def _cancel_wait(self, request: _Request) -> None:
        self.network.note(f"{self.name} {request.session.process} waits no longer")
        loop = self.network.loop
        for listen in request.session.listeners:
            loop.call_soon(listen, None, STANDBY_WARNING, context=request.context)
        self._committed(request)

    def _apply(self, writes: dict[Key, Row | None]) -> None:
        for (table, key), row in writes.items():
            if row is None:
                self.tables.setdefault(table, {}).pop(key, None)
            else:
                self.tables.setdefault(table, {})[key] = row

    def _release(self, session: Session) -> None:
        """End a transaction: those who waited for its locks go on."""
        session.writes = {}
        session.in_transaction = session.failed = False
        session.began_at = None
        held, session.locks = session.locks, {}
        for key in held:
            if self.locks.get(key) is session:
                del self.locks[key]
        for key in held:
            for request in self._blocked.pop(key, ()):
                self._attempt(request)

    def _reply(self, request: _Request) -> None:
        if request.answer_lost:
            self.network.note(f"{self.name} {request.session.process} {request.name} answer lost")
            self.end(request.session)
            self._tell(request, _gone())
        else:
            self._tell(request, request.result)

    def _tell(self, request: _Request, result: Any) -> None:
        request.session.asked -= 1
        chance = self.network.chance
        if self.network.slowness_s and chance.random() < 0.25:
            self.network.at_server(self.network.delay_s(), answer, request.answered, result)
        else:
            answer(request.answered, result)

    def _given_up(self, request: _Request) -> None:
        """The client cancels: that is a message too, and comes too late or in time."""
        self.network.at_server(self.network.delay_s(), self._cancel, request)

    def _cancel(self, request: _Request) -> None:
        if request in self._committing:
            self._cancel_wait(request)
        elif self._unblock(request):
            request.session.asked -= 1
            self._fail(request.session)
        elif request.state == "under way" and self.network.chance.random() < 0.5:
            request.state = "cancelled"


def _gone() -> asyncpg.ConnectionDoesNotExistError:
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
