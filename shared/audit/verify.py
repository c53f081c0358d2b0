"""Owns the judgement over one log: rows in order, its head, a checkpoint, what was published.

Must not read from anywhere: rows come in as a stream, so that any source can be judged.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.audit.batch_check import (
    BatchResult,
    Expected,
    check_batch,
    check_follows,
    check_place,
    check_version,
)
from shared.audit.findings import Fault, HeadRow, LogCheckpoint, LogReport, lowest
from shared.audit.merkle import HASH_BYTES, Tree, split_hashes, subtree_sizes
from shared.audit.sealed_event import EventFaultError, SealedEvent
from shared.audit.topic_reading import TopicReading

_AHEAD_BATCHES: Final = 4


async def verify_log(
    batches: AsyncIterator[bytes],
    head: HeadRow,
    *,
    checkpoint: LogCheckpoint | None = None,
    topic: TopicReading | None = None,
    executor: Executor | None = None,
    on_progress: Callable[[int], None] = lambda _position: None,
) -> LogReport:
    """Judge a whole log and name the lowest position at fault.

    `batches` are packed rows (`rows.pack_rows`) in order of position. With an executor (of
    processes) batches are checked side by side; the report is the same. The topic must have been
    read before the head was. Reading ends at the first fault.
    """
    audit = _LogAudit(head, checkpoint, topic)
    expected = Expected(head.log, head.timeline, with_digests=topic is not None)
    async with aclosing(_checked(batches, expected, executor)) as results:
        async for result in results:
            audit.add(result)
            on_progress(audit.tree.size)
            if audit.fault is not None:
                break
    return audit.report()


async def _checked(
    batches: AsyncIterator[bytes], expected: Expected, executor: Executor | None
) -> AsyncGenerator[BatchResult, None]:
    check = partial(check_batch, expected=expected)
    if executor is None:
        async for packed in batches:
            yield check(packed)
        return
    loop = asyncio.get_running_loop()
    running: deque[asyncio.Future[BatchResult]] = deque()
    try:
        async for packed in batches:
            running.append(loop.run_in_executor(executor, check, packed))
            if len(running) >= _AHEAD_BATCHES:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for future in running:
            future.cancel()


@dataclass(slots=True)
class _LogAudit:
    head: HeadRow
    checkpoint: LogCheckpoint | None
    topic: TopicReading | None
    tree: Tree = field(default_factory=Tree)
    last: SealedEvent | None = None
    versions: dict[str, int] = field(default_factory=dict)
    redacted: int = 0
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.checkpoint.position == 0:
            self.fault = self._checkpoint_fault(self.checkpoint)

    def add(self, result: BatchResult) -> None:
        """Take the next batch, up to the lowest fault in it."""
        faults = [self._boundary_fault(result), *self._version_faults(result), result.fault]
        self.fault = lowest([*faults, self._published_fault(result)])
        good = len(result.leaves) // HASH_BYTES
        if self.fault is not None and self.fault.position is not None:
            good = min(good, max(self.fault.position - 1 - self.tree.size, 0))
        self._grow(split_hashes(bytes(result.leaves[: good * HASH_BYTES])))
        self.redacted += result.redacted
        self.last = result.last or self.last
        self.versions.update(result.last_versions)

    def report(self) -> LogReport:
        """The judgement, once all rows were added or one was found at fault."""
        end_faults = [] if self.fault else self._end_faults()
        topic_fault = None if self.topic is None else self.topic.fault
        return LogReport(
            log=self.head.log,
            timeline=self.head.timeline,
            position=self.tree.size,
            root=self.tree.root(),
            first_fault=lowest([self._beyond_head(), self.fault, topic_fault, *end_faults]),
            checked=self.tree.size,
            redacted=self.redacted,
            topic_position=None if self.topic is None else self.topic.position,
        )

    def _boundary_fault(self, result: BatchResult) -> Fault | None:
        """What is wrong between the last row before the batch and its first."""
        if not result.is_empty:
            fault = check_place(result.first_position, self.tree.size + 1)
            if fault is not None:
                return fault
        if result.first is None or self.last is None:
            return None
        try:
            check_follows(result.first, self.last)
        except EventFaultError as error:
            return Fault(result.first.position, error.reason, error.detail)
        return None

    def _version_faults(self, result: BatchResult) -> Iterator[Fault]:
        for stream, (version, position) in result.first_versions.items():
            try:
                check_version(version, self.versions.get(stream, 0))
            except EventFaultError as error:
                yield Fault(position, error.reason, error.detail)

    def _published_fault(self, result: BatchResult) -> Fault | None:
        if self.topic is None:
            return None
        position = self.topic.compare(self.tree.size + 1, bytes(result.digests))
        if position is None:
            return None
        detail = "the event's bytes and what the topic holds at this position differ"
        return Fault(position, "topic-mismatch", detail)

    def _grow(self, leaves: list[bytes]) -> None:
        """Extend the tree, looking at its root where the checkpoint was taken."""
        checkpoint = self.checkpoint
        if checkpoint is None or not 0 < checkpoint.position - self.tree.size <= len(leaves):
            self.tree.extend(leaves)
            return
        until = checkpoint.position - self.tree.size
        self.tree.extend(leaves[:until])
        found = self._checkpoint_fault(checkpoint)
        if found is not None:
            self.fault = found
        else:
            self.tree.extend(leaves[until:])

    def _checkpoint_fault(self, checkpoint: LogCheckpoint) -> Fault | None:
        if checkpoint.root == self.tree.root():
            return None
        detail = "the log's first events up to this position are not those of the checkpoint"
        if checkpoint.timeline < self.head.timeline:
            detail += f"; since it was made the log was restored to timeline {self.head.timeline}"
        return Fault(checkpoint.position, "checkpoint-mismatch", detail)

    def _beyond_head(self) -> Fault | None:
        reached = self.tree.size
        if self.fault is not None and self.fault.position is not None:
            reached = max(reached, self.fault.position - 1)
        if reached <= self.head.position:
            return None
        detail = f"there are events behind position {self.head.position}, where the head is"
        return Fault(self.head.position + 1, "position-beyond-head", detail)

    def _end_faults(self) -> list[Fault | None]:
        return [
            self._missing_tail(),
            self._truncated(),
            self._topic_ahead(),
            self._head_fault(),
        ]

    def _missing_tail(self) -> Fault | None:
        if self.tree.size >= self.head.position:
            return None
        detail = f"the events end here, the head is at {self.head.position}"
        return Fault(self.tree.size + 1, "position-missing", detail)

    def _truncated(self) -> Fault | None:
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.position <= self.tree.size:
            return None
        detail = f"the checkpoint was made at {checkpoint.position}, the log ends before it"
        return Fault(self.tree.size + 1, "truncated", detail)

    def _topic_ahead(self) -> Fault | None:
        if self.topic is None or self.topic.position <= self.tree.size:
            return None
        detail = f"events up to {self.topic.position} were published, the log ends before them"
        return Fault(self.tree.size + 1, "topic-ahead", detail)

    def _head_fault(self) -> Fault | None:
        """Compare the head with what was recomputed, once all rows are right by themselves."""
        if len(self.head.tree) != HASH_BYTES * self.head.position.bit_count():
            return Fault(None, "head-mismatch", "the head's tree does not belong to its position")
        if self.head.position != self.tree.size:
            return None
        if self.last is not None and self.head.recorded_us < self.last.recorded_us:
            return Fault(None, "head-mismatch", "the head is older than the last event")
        start = 1
        for size, ours, theirs in zip(
            subtree_sizes(self.tree.size),
            self.tree.subtrees(),
            split_hashes(self.head.tree),
            strict=True,
        ):
            if ours != theirs:
                return self._root_mismatch(start, start + size - 1)
            start += size
        return None

    def _root_mismatch(self, first: int, last: int) -> Fault:
        detail = f"every event is right by itself, yet the head has another root for {first}-{last}"
        if self.topic is None:
            detail += "; a checkpoint or the topic is needed to find where"
        elif self.topic.position >= last:
            detail += "; they are what was published, so the head itself was changed"
        else:
            detail += f"; up to {self.topic.position} they are what was published"
        return Fault(None, "root-mismatch", detail)
