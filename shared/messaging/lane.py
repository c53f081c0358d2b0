"""Owns taking one partition's records to the log in their order, and what became of each.

Must not let a record overtake one before it that is not settled yet.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from shared.contracts.topics import MAX_EVENT_BYTES
from shared.eventstore.types import (
    CommandRefusedError,
    Decision,
    EventStoreError,
    LogUnavailableError,
    Outcome,
    OverloadedError,
    PendingCommand,
    View,
)
from shared.eventstore.view import MissingError
from shared.eventstore.writer import LogWriter
from shared.http.problems import Problem, define_problem
from shared.messaging.intake_store import Move, Rejection
from shared.messaging.lease import DATABASE_ERRORS
from shared.messaging.submissions import (
    Headers,
    Refusal,
    digest_of,
    name_submission,
    problem_text,
)

_log = structlog.get_logger(__name__)

MAX_SUBMISSION_BYTES: Final = MAX_EVENT_BYTES

ToCommand = Callable[[bytes, str, Headers], PendingCommand | Refusal]
"""Reads a record of an organisation's topic: what it asks for, or why it cannot. Pure."""

Explain = Callable[[CommandRefusedError], Mapping[str, Any]]
"""Makes the problem that tells a sender why the estate's rules refused a command."""


def _refusal(slug: str, status: int, title: str, advice: str) -> Refusal:
    """A reason that needs no rule of the estate; it has a page of its own as every problem."""
    return Refusal(Problem(define_problem(slug, status, title, advice)).document())


_EMPTY: Final = _refusal(
    "submission-empty", 422, "The record has no value", "Send a CloudEvent as the record's value."
)
_TOO_LARGE: Final = _refusal(
    "submission-too-large",
    413,
    f"The record is larger than {MAX_SUBMISSION_BYTES} bytes",
    "Send less: one submission asks for one change.",
)
_UNREADABLE: Final = _refusal(
    "submission-unreadable",
    422,
    "The record cannot be read as a submission",
    "Send one CloudEvent 1.0 in structured JSON, in UTF-8.",
)
_REFUSED: Final = define_problem(
    "submission-refused",
    409,
    "The submission was refused for a reason that no rule names",
    "Tell the operators of the service its source and id; their log has the cause.",
)

_UNFORESEEN: Final = "Deciding the submission failed in a way that no rule foresees."
_OUTAGES: Final = (EventStoreError, *DATABASE_ERRORS)


def _is_outage(error: BaseException | None) -> bool:
    """Whether what kept a command out of the log has nothing to do with the command."""
    if isinstance(error, asyncpg.DataError):
        return False
    return isinstance(error, _OUTAGES)


class UndecidableError(CommandRefusedError):
    """Deciding the command failed in a way that no rule of the estate foresees."""


def explain_plainly(error: CommandRefusedError) -> Mapping[str, Any]:
    """Make a problem from what the refusal says."""
    return Problem(_REFUSED, str(error)).document()


def read_record(
    raw: bytes | None, organisation: str, headers: Headers, to_command: ToCommand
) -> PendingCommand | Refusal:
    """Turn a record that may be anything into a command or a refusal, never into an exception."""
    if not raw:
        return _EMPTY
    if len(raw) > MAX_SUBMISSION_BYTES:
        return _TOO_LARGE
    if b"\x00" in raw:
        return _UNREADABLE
    try:
        return to_command(raw, organisation, headers)
    except Exception as error:  # noqa: BLE001 - a record must not stop those behind it.
        _log.warning("submission_unreadable", error=type(error).__name__)
        return _UNREADABLE


def proof_of(record: ConsumerRecord[bytes, bytes]) -> bytes:
    """The digest by which a record is known again, also from one that was sent twice."""
    return digest_of(b"%d:%b" % (record.timestamp, record.value or b""))


Settled = Outcome | Refusal
_Waiting = asyncio.Future[Outcome]


@dataclass(slots=True)
class Lane:
    """A run of records of one partition on their way into the log.

    `behind` is the partition's stored mark. `holds` tells whether this process still has the
    intake to itself; it is asked where commands are decided, under the log's gate, so that a
    process that was frozen cannot decide what another has answered meanwhile. A lane of
    `last_resort` is one record that failed again and again and is now tried alone: a failure that
    is no outage is then its own, and refuses it.
    """

    place: TopicPartition
    organisation: str
    behind: int
    records: Sequence[ConsumerRecord[bytes, bytes]]
    holds: Callable[[], bool]
    explain: Explain
    last_resort: bool = False
    steps: list[_Waiting | Refusal] = field(default_factory=list)
    _checked: int = 0
    _blocked: bool = False

    def enqueue(self, writer: LogWriter, to_command: ToCommand) -> None:
        """Queue the records' commands in order, as many as the writer takes."""
        for record in self.records:
            asked = read_record(record.value, self.organisation, record.headers, to_command)
            if isinstance(asked, Refusal):
                self.steps.append(asked)
                continue
            command = replace(asked, decide=self._guarded(asked, len(self.steps)))
            try:
                self.steps.append(writer.enqueue(command))
            except OverloadedError:
                return

    def waiting(self) -> Iterator[_Waiting]:
        """The futures of the commands that are queued."""
        return (step for step in self.steps if not isinstance(step, Refusal))

    def settled(self) -> list[Settled]:
        """The final results from the front; what comes behind must be tried again."""
        results: list[Settled] = []
        for step in self.steps:
            result = self._result(step)
            if result is None:
                break
            results.append(result)
        return results

    def move(self, count: int) -> Move:
        """The step of the mark past the first `count` records."""
        last = self.records[count - 1]
        return Move(self.place, self.behind, last.offset + 1, proof_of(last))

    def rejections(self, results: Sequence[Settled]) -> Iterator[Rejection]:
        """What is to be stored of those that were refused."""
        for record, result in zip(self.records, results, strict=False):
            if isinstance(result, Refusal):
                yield self._rejection(record, result)

    def _rejection(self, record: ConsumerRecord[bytes, bytes], refusal: Refusal) -> Rejection:
        raw = record.value or b""
        name = name_submission(raw)
        return Rejection(
            organisation=self.organisation,
            source=name.source,
            id=name.id,
            reason=problem_text(refusal.problem),
            digest=digest_of(raw),
            original=raw,
            place=self.place,
            offset=record.offset,
        )

    def _result(self, step: _Waiting | Refusal) -> Settled | None:
        if isinstance(step, Refusal):
            return step
        if not step.done() or step.cancelled():
            return None
        match step.exception():
            case None:
                return step.result()
            case CommandRefusedError() as refused:
                return Refusal(self._explained(refused))
            case error if self.last_resort and not _is_outage(error):
                return Refusal(explain_plainly(UndecidableError(_UNFORESEEN)))
            case _:
                return None

    def failed_strangely(self) -> bool:
        """Whether the first record that is not settled met something else than an outage."""
        step = next((s for s in self.steps if self._result(s) is None), None)
        if step is None or isinstance(step, Refusal) or not step.done() or step.cancelled():
            return False
        return not _is_outage(step.exception())

    def _explained(self, refused: CommandRefusedError) -> Mapping[str, Any]:
        try:
            return self.explain(refused) or explain_plainly(refused)
        except Exception:  # noqa: BLE001 - a record must not stop those behind it.
            _log.exception("refusal_not_explained")
            return explain_plainly(refused)

    def _guarded(self, command: PendingCommand, index: int) -> Callable[[View], Decision]:
        def decide(view: View) -> Decision:
            if not self.holds() or self._overtakes(index):
                raise LogUnavailableError("what comes before it must be tried again first")
            try:
                return command.decide(view)
            except (CommandRefusedError, MissingError):
                raise
            except Exception as error:
                _log.exception("submission_undecidable", key=command.key)
                raise UndecidableError(_UNFORESEEN) from error

        return decide

    def _overtakes(self, index: int) -> bool:
        """Whether a record in front is known to be unsettled; answers come in queue order."""
        while not self._blocked and self._checked < index:
            step = self.steps[self._checked]
            if not isinstance(step, Refusal) and not step.done():
                break
            self._blocked = self._result(step) is None
            self._checked += 1
        return self._blocked
