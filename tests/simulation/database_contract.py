"""Owns what a database must do for the logic above it, whether real or simulated.

Must only use what that logic uses: the fake is held to nothing else. Whoever runs this brings the
fixture `served`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import pytest
from aiokafka import TopicPartition

from shared.clock import Clock, new_id
from shared.database.errors import UNREACHABLE
from shared.eventstore import append
from shared.eventstore.append import Connection
from shared.eventstore.reader import LogReader, Pool
from shared.eventstore.types import LogHaltedError, NameTakenError, PendingCommand
from shared.eventstore.writer import LogWriter
from shared.messaging.intake_store import IntakeStore, Mark, MarkMovedError, Move, Rejection
from shared.messaging.lease import Lease, LeaseLostError
from shared.messaging.relay_log import RelayLog
from shared.messaging.submissions import SubmissionName, Submissions
from shared.projections.checkpoint import CheckpointMovedError
from shared.projections.feed import Checkpoint, FeedBatch
from shared.projections.log_feed import LogFeed
from shared.projections.read_models import Driver, ReadModels
from shared.projections.writer import GenerationWriter
from tests.simulation.fake_read_model import COUNTS, HISTORY, LATEST, projection
from tests.simulation.requests import (
    CATEGORIES,
    LOG,
    ORGANISATIONS,
    make_document,
    make_doors,
    record_reader,
)

_TIMEOUT_S = 5.0
_NOW = datetime.fromisoformat("2026-06-01T12:00:00+00:00")


@dataclass(frozen=True)
class Served:
    """A database with an empty log, and how one gets to it.

    `connect` makes a writer's connection, on which one waits 0.2 s for a lock at most. `contents`
    reads the columns of a table of the first generation.
    """

    pool: Pool
    connect: Callable[[], Awaitable[Connection]]
    driver: Driver
    dsn: str
    clock: Clock
    contents: Callable[[str, tuple[str, ...]], Awaitable[list[tuple[object, ...]]]]

    @property
    def reader(self) -> LogReader:
        return LogReader(self.pool, LOG)

    async def fill(self, *documents: bytes) -> list[object]:
        """Put commands into the log, all at once; return what came of each."""
        writer = LogWriter(self.connect, CATEGORIES, self.clock, new_id)
        await writer.start()
        read = record_reader(make_doors(self.clock, "contract"))
        commands = [read(one, ORGANISATIONS[0], ()) for one in documents]
        waiting = [writer.submit(one) for one in commands if isinstance(one, PendingCommand)]
        assert len(waiting) == len(documents)
        results: list[object] = await asyncio.gather(*waiting, return_exceptions=True)
        await writer.stop()
        return results


class DatabaseContract:
    """The tests; each gets a database of its own."""

    async def test_what_is_appended_is_read_in_order_and_by_place(self, served: Served) -> None:
        await served.fill(*(make_document(n, events=2) for n in range(3)))
        reader = served.reader
        events = await reader.after(0, 100)
        assert [event.position for event in events] == [1, 2, 3, 4, 5, 6]
        assert await reader.bodies_after(4, 1) == [events[4].body]
        assert await reader.at(6) == events[5]
        assert await reader.at(7) is None
        head = await reader.head()
        assert (head.position, head.timeline, head.halted) == (6, 1, None)
        assert head.recorded_at == events[5].recorded_at

    async def test_many_events_are_copied_as_few_are_inserted(self, served: Served) -> None:
        await served.fill(make_document(1, events=30))
        events = await served.reader.after(0, 100)
        assert [event.stream_version for event in events] == list(range(1, 31))

    async def test_a_command_is_known_by_its_key_with_its_answer(self, served: Served) -> None:
        (first,) = await served.fill(make_document(1, events=1))
        (again,) = await served.fill(make_document(1, events=1))
        assert (first.answer, first.replayed) == (again.answer, False)  # type: ignore[attr-defined]
        assert again.replayed  # type: ignore[attr-defined]
        assert (await served.reader.head()).position == 1

    async def test_a_command_without_events_is_known_and_moves_nothing(
        self, served: Served
    ) -> None:
        await served.fill(make_document(1, events=1))
        before = await served.reader.head()
        await served.fill(make_document(2, events=0))
        (again,) = await served.fill(make_document(2, events=0))
        assert again.replayed  # type: ignore[attr-defined]
        assert await served.reader.head() == before

    async def test_a_name_is_held_by_who_took_it_first(self, served: Served) -> None:
        await served.fill(make_document(1, subject="svc_1", claim="name"))
        other, same = await served.fill(
            make_document(2, subject="svc_2", claim="name"),
            make_document(3, subject="svc_1", claim="name"),
        )
        assert isinstance(other, NameTakenError)
        assert not isinstance(same, Exception)

    async def test_streams_are_loaded_whole(self, served: Served) -> None:
        await served.fill(make_document(1, subject="svc_1", events=3))
        await served.fill(make_document(2, subject="svc_2", events=1))
        stale, fresh = await served.fill(
            make_document(3, subject="svc_1", expects=2),
            make_document(4, subject="svc_1", expects=3),
        )
        assert isinstance(stale, Exception)
        assert not isinstance(fresh, Exception)

    async def test_what_was_not_committed_is_not_there(self, served: Served) -> None:
        connection = await served.connect()
        await append.open_gate(connection, _TIMEOUT_S, 60.0)
        await append.touch_head(connection, _TIMEOUT_S)
        await connection.execute("ROLLBACK")
        await append.open_gate(connection, _TIMEOUT_S, 60.0)
        head, _, _ = await append.read_head(connection, (), _TIMEOUT_S)
        await connection.execute("COMMIT")
        connection.terminate()
        assert head.position == 0

    async def test_one_at_a_time_is_behind_the_gate(self, served: Served) -> None:
        first, second = await served.connect(), await served.connect()
        await append.open_gate(first, _TIMEOUT_S, 60.0)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await append.open_gate(second, _TIMEOUT_S, 60.0)
        await first.execute("COMMIT")
        await append.open_gate(second, _TIMEOUT_S, 60.0)
        second.terminate()
        await asyncio.wait_for(self._opened(first), _TIMEOUT_S)
        first.terminate()

    async def _opened(self, connection: Connection) -> None:
        """Wait for a gate whose holder has gone, as the server notices sooner or later."""
        while True:
            try:
                return await append.open_gate(connection, _TIMEOUT_S, 60.0)
            except asyncpg.LockNotAvailableError:
                continue

    async def test_who_holds_the_gate_for_too_long_is_ended(self, served: Served) -> None:
        first, second = await served.connect(), await served.connect()
        await append.open_gate(first, _TIMEOUT_S, 60.0)
        await append.open_gate(second, _TIMEOUT_S, 0.1)
        with pytest.raises(UNREACHABLE):
            await append.touch_head(first, _TIMEOUT_S)
        first.terminate()
        await second.execute("COMMIT")
        second.terminate()

    async def test_a_transaction_that_failed_takes_no_more(self, served: Served) -> None:
        first, second = await served.connect(), await served.connect()
        await first.execute(append.OPEN_GATE)
        await second.execute("BEGIN")
        await append.touch_head(second, _TIMEOUT_S)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await append.touch_head(first, _TIMEOUT_S)
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await append.read_commands(first, ["any"], _TIMEOUT_S)
        await first.execute("ROLLBACK")
        assert await append.read_commands(first, ["any"], _TIMEOUT_S) == {}
        first.terminate()
        second.terminate()

    async def test_no_answer_in_time_is_a_timeout_and_changes_nothing(self, served: Served) -> None:
        holder = await served.connect()
        await holder.execute("BEGIN")
        await append.touch_head(holder, _TIMEOUT_S)
        with pytest.raises(TimeoutError):
            await RelayLog(served.pool, timeout_s=0.1).halt("too late")
        await holder.execute("COMMIT")
        holder.terminate()
        assert (await served.reader.head()).halted is None

    async def test_a_relay_reads_ahead_by_number_and_by_size(self, served: Served) -> None:
        log = RelayLog(served.pool, timeout_s=_TIMEOUT_S)
        assert (await log.head()).position == 0
        await served.fill(*(make_document(n, events=1) for n in range(4)))
        bodies = await served.reader.bodies_after(0, 100)
        assert [one.position for one in await log.ahead(1, 2, 1_000_000)] == [2, 3]
        assert [one.position for one in await log.ahead(1, 100, 1)] == [2]
        two = len(bodies[1]) + len(bodies[2])
        found = await log.ahead(1, 100, two)
        assert [(one.body, one.stream) for one in found] == [
            (event.body, event.stream) for event in await served.reader.after(1, 2)
        ]
        assert list(await log.ahead(4, 10, 1_000)) == []

    async def test_what_was_published_is_noted_and_only_grows(self, served: Served) -> None:
        log = RelayLog(served.pool, timeout_s=_TIMEOUT_S)
        assert await log.published(1) == 0
        for position, known in ((5, 5), (3, 5), (7, 7)):
            await log.note_published(1, position)
            assert await log.published(1) == known
        assert await log.published(2) == 0

    async def test_a_halt_stops_writers_and_the_first_reason_stays(self, served: Served) -> None:
        log = RelayLog(served.pool, timeout_s=_TIMEOUT_S)
        await log.halt("first")
        await log.halt("second")
        (refused,) = await served.fill(make_document(1, events=1))
        assert isinstance(refused, LogHaltedError)
        assert str(refused) == "first"

    async def test_a_lease_has_one_holder_until_it_runs_out(self, served: Served) -> None:
        mine, other = self._lease(served, "mine"), self._lease(served, "other")
        assert await mine.take()
        assert not await other.take()
        assert await mine.take()
        assert mine.epoch == 2
        await mine.renew()
        await asyncio.wait_for(self._taken(other), _TIMEOUT_S)
        assert other.epoch == 3
        with pytest.raises(LeaseLostError):
            await mine.renew()

    async def test_a_lease_given_up_is_free_at_once(self, served: Served) -> None:
        mine, other = self._lease(served, "mine", 60.0), self._lease(served, "other", 60.0)
        assert await mine.take()
        await other.release()
        assert not await other.take()
        await mine.release()
        assert await other.take()

    @staticmethod
    def _lease(served: Served, holder: str, ttl_s: float = 0.3) -> Lease:
        return Lease(served.pool, "relay", holder, served.clock, ttl_s=ttl_s, timeout_s=_TIMEOUT_S)

    @staticmethod
    async def _taken(lease: Lease) -> None:
        while not await lease.take():
            await asyncio.sleep(0.02)

    async def test_marks_move_from_where_they_were_or_not_at_all(self, served: Served) -> None:
        store = IntakeStore(served.pool, timeout_s=_TIMEOUT_S)
        places = [TopicPartition("a", 0), TopicPartition("b", 0)]
        assert await store.marks(places) == dict.fromkeys(places, Mark(0, None))
        await store.advance([Move(place, 0, 3, b"three") for place in places], [])
        moves = [Move(places[0], 3, 4, b"four"), Move(places[1], 0, 4, b"four")]
        with pytest.raises(MarkMovedError):
            await store.advance(moves, [_rejection("r1", "lost")])
        assert await store.marks(places) == dict.fromkeys(places, Mark(3, b"three"))
        found = await Submissions(served.pool).status(ORGANISATIONS[0], "sim", "r1")
        assert found.state == "unknown"

    async def test_what_was_refused_is_found_and_the_last_reason_counts(
        self, served: Served
    ) -> None:
        store = IntakeStore(served.pool, timeout_s=_TIMEOUT_S)
        place = TopicPartition("a", 0)
        await store.marks([place])
        reasons = [_rejection("r1", "first"), _rejection("r1", "last")]
        await store.advance([Move(place, 0, 2, b"two")], reasons)
        submissions = Submissions(served.pool)
        found = await submissions.status(ORGANISATIONS[0], "sim", "r1")
        assert (found.state, found.problem) == ("rejected", {"title": "last"})
        await served.fill(make_document(1, events=1))
        found = await submissions.status(ORGANISATIONS[0], "sim", "r1")
        assert found.state == "accepted"

    async def test_of_a_refusal_over_http_the_last_reason_is_kept(self, served: Served) -> None:
        submissions = Submissions(served.pool)
        names = [SubmissionName("sim", name) for name in ("r1", "r2")]
        for reason in ("first", "last"):
            refused = [(name, {"title": f"{name.id} {reason}"}) for name in names]
            await submissions.keep_refused(ORGANISATIONS[0], refused)
        for name in names:
            found = await submissions.status(ORGANISATIONS[0], "sim", name.id or "")
            assert (found.state, found.problem) == ("rejected", {"title": f"{name.id} last"})
            assert found.record is None
        other = await submissions.status(ORGANISATIONS[1], "sim", "r1")
        assert other.state == "unknown"

    async def test_rows_and_checkpoint_of_a_read_model_are_written_together(
        self, served: Served
    ) -> None:
        await served.fill(make_document(1, subject="svc_1", events=2))
        await served.fill(make_document(2, subject="svc_2", events=1))
        writer, start, batch = await self._read_model(served)
        applied = await writer.apply(start, batch, _NOW)
        assert await writer.checkpoint(LOG) == applied.checkpoint == batch.end
        writer.drop()
        history = await served.contents(HISTORY.name, ("position", "subject"))
        assert history == [(1, "svc_1"), (2, "svc_1"), (3, "svc_2")]
        assert await served.contents(LATEST.name, LATEST.columns) == [("svc_1", 2), ("svc_2", 3)]
        assert await served.contents(COUNTS.name, COUNTS.columns) == [("svc_1", 2), ("svc_2", 1)]

    async def test_a_batch_is_written_once_whoever_comes_second(self, served: Served) -> None:
        await served.fill(make_document(1, events=2))
        writer, start, batch = await self._read_model(served)
        other, _, _ = await self._read_model(served)
        results = await asyncio.gather(
            writer.apply(start, batch, _NOW),
            other.apply(start, batch, _NOW),
            return_exceptions=True,
        )
        assert [isinstance(one, CheckpointMovedError) for one in results].count(True) == 1
        writer.drop()
        other.drop()
        assert len(await served.contents(HISTORY.name, ("position",))) == 2

    @staticmethod
    async def _read_model(served: Served) -> tuple[GenerationWriter, Checkpoint, FeedBatch]:
        simulated = projection(LOG)
        models = ReadModels(served.dsn, simulated, served.clock, driver=served.driver)
        generation = await models.look()
        await models.stop()
        writer = GenerationWriter(simulated, generation, models)
        start = await writer.checkpoint(LOG)
        return writer, start, await LogFeed(served.reader).read(start, 100, 0.0)


def _rejection(name: str, reason: str) -> Rejection:
    return Rejection(
        organisation=ORGANISATIONS[0],
        source="sim",
        id=name,
        reason=f'{{"title":"{reason}"}}',
        digest=b"digest",
        original=b"original",
        place=TopicPartition("a", 0),
        offset=0,
    )
