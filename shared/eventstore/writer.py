"""Owns the way into the log: one task, one connection, as many commands a commit as are waiting.

Must be the only writer of a process. Several processes may write one log: the gate lets one batch
decide and commit at a time, so every decision sees all that was committed before it.
Source: docs/adr/0002-decide-under-the-gate.md.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from shared.background import Background
from shared.clock import Clock, IdSource
from shared.contracts.envelope import Event
from shared.database.errors import UNREACHABLE
from shared.eventstore import append
from shared.eventstore.append import Connection
from shared.eventstore.batch import Batch, KnownCommand
from shared.eventstore.types import (
    Category,
    ClockSuspectError,
    EventStoreError,
    KeyReusedError,
    LogUnavailableError,
    LookUp,
    Outcome,
    OutcomeUnknownError,
    OverloadedError,
    PendingCommand,
)
from shared.eventstore.view import BatchView, Cache, MissingError
from shared.failpoints import reach

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of the writer; see docs/configuration.md."""

    batch_max_commands: int = 500
    batch_max_bytes: int = 1024 * 1024
    queue_max_commands: int = 5_000
    statement_timeout_s: float = 10.0
    commit_deadline_s: float = 15.0
    resolve_deadline_s: float = 20.0
    clock_skew_max_s: float = 60.0
    gate_hold_max_s: float = 20.0
    decide_max_passes: int = 64
    decide_deadline_s: float = 12.0


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A commit: where the log ends now, what it took, how long from the gate to durable."""

    position: int
    events: int
    commands: int
    duration_s: float


@dataclass(slots=True)
class _Waiting:
    command: PendingCommand
    answered: "asyncio.Future[Outcome]"


class _CommitUnknownError(Exception):
    """The connection was lost while COMMIT was under way."""


class LogWriter:
    """Takes commands, decides them in order, appends what they lead to, answers when it is durable.

    A caller that is cancelled does not cancel its command. `on_batch` is told of each commit.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        categories: Mapping[str, Category[Any]],
        clock: Clock,
        new_id: IdSource,
        *,
        limits: WriterLimits | None = None,
        look_up: LookUp | None = None,
        on_batch: Callable[[BatchDone], None] = lambda _done: None,
    ) -> None:
        self._connect = connect
        self._categories = categories
        self._clock = clock
        self._new_id = new_id
        self._limits = limits or WriterLimits()
        self._look_up = look_up
        self._on_batch = on_batch
        self._cache = Cache(categories)
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._connection: Connection | None = None
        self._background = Background("log-writer", self._run)
        self._batch: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def depth(self) -> int:
        """How many commands wait."""
        return len(self._queue)

    async def start(self) -> None:
        """Begin to take commands; the connection is made when the first arrives."""
        self._stopping = False
        self._background.start()

    async def stop(self) -> None:
        """Finish the batch under way, refuse what waits or still comes, let the connection go."""
        self._stopping = True
        await self._background.stop()
        if self._batch is not None:
            await self._batch
        while self._queue:
            self._answer(self._queue.popleft(), LogUnavailableError("the service is stopping"))
        self._drop_connection()

    async def submit(self, command: PendingCommand) -> Outcome:
        """Put a command into the log and return its outcome once that is durable.

        Commands are decided in the order of these calls. A repeated key gives the first outcome
        again, marked as replayed.

        Raises: CommandRefusedError and its kinds when nothing may be written; LogUnavailableError
        and its kinds when nothing was; OutcomeUnknownError when the same key must be sent again.
        """
        return await asyncio.shield(self.enqueue(command))

    def enqueue(self, command: PendingCommand) -> "asyncio.Future[Outcome]":
        """Queue a command now and return the future of its outcome; see `submit`.

        Raises: OverloadedError when the queue is full; LogUnavailableError once it stops.
        """
        if self._stopping:
            raise LogUnavailableError("the service is stopping")
        if len(self._queue) >= self._limits.queue_max_commands:
            raise OverloadedError("too many commands wait for the log")
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(command, answered))
        self._arrived.set()
        return answered

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            count = min(len(self._queue), self._limits.batch_max_commands)
            waiting = [self._queue.popleft() for _ in range(count)]
            self._batch = asyncio.create_task(self._process(waiting), name="log-writer-batch")
            await asyncio.shield(self._batch)

    async def _process(self, waiting: list[_Waiting]) -> None:
        try:
            await self._append(waiting)
        except EventStoreError as error:
            self._fail(waiting, error)
        except UNREACHABLE as error:
            _log.warning("append_failed", error=repr(error), commands=len(waiting))
            self._drop_connection()
            self._fail(waiting, LogUnavailableError("the log's database cannot be reached"))
        except Exception as error:  # noqa: BLE001 - every caller is owed an answer.
            _log.exception("append_failed_unexpectedly", commands=len(waiting))
            self._drop_connection()
            self._fail(waiting, error)

    async def _append(self, waiting: list[_Waiting]) -> None:
        for _attempt in range(2):
            connection = await self._connected()
            try:
                await self._append_once(connection, waiting)
            except _CommitUnknownError:
                _log.warning("commit_outcome_unknown", commands=len(waiting))
                known = await self._resolve(waiting)
                waiting = self._answer_known(waiting, known)
                if not waiting:
                    return
            else:
                return
        raise LogUnavailableError("the connection was lost twice while committing")

    async def _append_once(self, connection: Connection, waiting: list[_Waiting]) -> None:
        timeout_s = self._limits.statement_timeout_s
        started = self._clock.monotonic()
        try:
            await append.open_gate(connection, timeout_s, self._limits.gate_hold_max_s)
            async with asyncio.timeout(self._limits.decide_deadline_s):
                batch = await self._decide(connection, [w.command for w in waiting])
            if not batch.vouches:
                await connection.execute("ROLLBACK", timeout=timeout_s)
            else:
                reach("append.decided")
                await self._write(connection, batch)
                reach("append.before_commit")
                await self._commit(connection)
                reach("append.after_commit")
        except EventStoreError:
            await connection.execute("ROLLBACK", timeout=timeout_s)
            raise
        self._finish(batch, waiting, started)

    async def _write(self, connection: Connection, batch: Batch) -> None:
        """Write the batch; one of repeats alone is a barrier, since a replay vouches for them."""
        timeout_s = self._limits.statement_timeout_s
        if batch.accepted:
            await append.write(connection, batch, timeout_s)
        else:
            await append.touch_head(connection, timeout_s)

    async def _decide(self, connection: Connection, commands: list[PendingCommand]) -> Batch:
        timeout_s = self._limits.statement_timeout_s
        keys = [command.key for command in commands]
        head, clock_at, known = await append.read_head(connection, keys, timeout_s)
        skew = abs((clock_at - self._clock.now()).total_seconds())
        if skew > self._limits.clock_skew_max_s:
            raise ClockSuspectError(f"process and database clocks differ by {skew:.0f} s")
        if head.position != self._cache.position:
            self._cache.forget()
            self._cache.position = head.position
        view = BatchView(self._cache, {})
        batch = Batch(head, view, self._categories, self._new_id, clock_at, known)
        for passes_left in reversed(range(self._limits.decide_max_passes)):
            self._decide_all(batch, commands, is_last=passes_left == 0)
            if view.is_complete:
                break
            unreadable = await self._load(connection, view)
            answers: Mapping[tuple[str, str], Any] = {}
            if view.missing_answers and self._look_up is not None:
                answers = await self._look_up(view.missing_answers)
            view.add(answers, unreadable)
        return batch

    def _decide_all(self, batch: Batch, commands: list[PendingCommand], *, is_last: bool) -> None:
        """Decide in order, from where the last pass ended.

        Once something is missing, go on only to learn what else is. In the last pass those that
        still miss something are refused, and they alone.
        """
        is_waiting = False
        for command in commands[len(batch.results) :]:
            if batch.size_bytes > self._limits.batch_max_bytes:
                return
            if is_waiting:
                batch.learn(command)
                continue
            try:
                batch.decide(command)
            except MissingError:
                if is_last:
                    detail = "the decision kept asking for more of the log"
                    batch.results.append(LogUnavailableError(detail))
                else:
                    is_waiting = True

    async def _load(self, connection: Connection, view: BatchView) -> dict[str, Exception]:
        """Load what is missing; return the streams that this code cannot read, and why."""
        timeout_s = self._limits.statement_timeout_s
        if view.missing_claims:
            claims = list(view.missing_claims)
            holders = await append.read_claims(connection, claims, timeout_s)
            for claim in claims:
                self._cache.put_claim(claim, holders.get(claim))
        if view.missing_streams:
            streams = await append.read_streams(connection, view.missing_streams, timeout_s)
            return self._fold(streams)
        return {}

    def _fold(self, streams: Mapping[str, list[Event]]) -> dict[str, Exception]:
        unreadable: dict[str, Exception] = {}
        for stream, events in streams.items():
            try:
                self._cache.put_state(stream, self._cache.fold(stream, events))
            except Exception as error:  # noqa: BLE001 - one bad stream must not hold up the others.
                _log.error("stream_unreadable", stream=stream, error=repr(error))
                unreadable[stream] = error
        return unreadable

    async def _commit(self, connection: Connection) -> None:
        """Commit without a statement timeout: a cancelled COMMIT says nothing true."""
        warnings: list[str] = []

        def listen(_connection: object, message: Any) -> None:
            warnings.append(str(message))

        connection.add_log_listener(listen)
        try:
            async with asyncio.timeout(self._limits.commit_deadline_s):
                await connection.execute("COMMIT")
        except UNREACHABLE as error:
            raise _CommitUnknownError from error
        finally:
            if not connection.is_closed():
                connection.remove_log_listener(listen)
        if warnings:
            # A cancelled wait for the standby: committed here, perhaps not there.
            raise _CommitUnknownError

    async def _resolve(self, waiting: list[_Waiting]) -> dict[str, KnownCommand]:
        """Learn which commands of a lost commit are in the log.

        The gate is had only once the lost transaction has ended; the barrier commit puts what is
        then read on the standby too.

        Raises: OutcomeUnknownError.
        """
        keys = [w.command.key for w in waiting]
        try:
            async with asyncio.timeout(self._limits.resolve_deadline_s):
                while True:
                    with contextlib.suppress(*UNREACHABLE, _CommitUnknownError):
                        return await self._resolve_once(keys)
                    self._drop_connection()
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            self._drop_connection()
            detail = "the connection was lost during commit; send the same key again"
            raise OutcomeUnknownError(detail) from error

    async def _resolve_once(self, keys: list[str]) -> dict[str, KnownCommand]:
        self._drop_connection()
        self._cache.forget()
        self._cache.position = 0
        connection = await self._connected()
        timeout_s = self._limits.statement_timeout_s
        await append.open_gate(connection, timeout_s, self._limits.gate_hold_max_s)
        await append.touch_head(connection, timeout_s)
        known = await append.read_commands(connection, keys, timeout_s)
        await self._commit(connection)
        return known

    def _answer_known(
        self, waiting: list[_Waiting], known: Mapping[str, KnownCommand]
    ) -> list[_Waiting]:
        """Answer those that are in the log; return the others, which are certainly not."""
        rest = []
        for one in waiting:
            found = known.get(one.command.key)
            if found is None or one.command.dry_run:
                rest.append(one)
            elif found.request_hash != one.command.request_hash:
                self._answer(one, KeyReusedError("the key was used before for another request"))
            else:
                self._answer(one, found.outcome)
        return rest

    def _finish(self, batch: Batch, waiting: list[_Waiting], started: float) -> None:
        if batch.accepted:
            batch.view.keep(batch.position)
            spent_s = self._clock.monotonic() - started
            self._on_batch(BatchDone(batch.position, len(batch.events), len(waiting), spent_s))
        decided = len(batch.results)
        for one, result in zip(waiting[:decided], batch.results, strict=True):
            self._answer(one, result)
        self._queue.extendleft(reversed(waiting[decided:]))

    def _fail(self, waiting: list[_Waiting], error: Exception) -> None:
        self._cache.forget()
        self._cache.position = 0
        for one in waiting:
            self._answer(one, error)

    @staticmethod
    def _answer(one: _Waiting, result: Outcome | Exception) -> None:
        if one.answered.done():
            return
        if isinstance(result, Outcome):
            one.answered.set_result(result)
            return
        one.answered.set_exception(result)
        one.answered.exception()  # A caller that has gone must not be reported as a leak.

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            # Perhaps to a promoted standby, which may hold another history of the same length.
            self._cache.forget()
            self._cache.position = 0
            self._connection = await self._connect()
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
