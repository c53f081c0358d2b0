"""Owns deciding one batch of commands, in queue order, into sealed rows ready to be written.

Must not do IO: what a decision needs and nobody loaded is reported as missing.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from shared.clock import IdSource, format_instant
from shared.contracts.envelope import SALT_BYTES, SOURCE_PREFIX, Origin, seal
from shared.contracts.names import Position
from shared.contracts.topics import MAX_EVENT_BYTES
from shared.eventstore.merkle import Frontier
from shared.eventstore.types import (
    Category,
    Claim,
    Decision,
    EventTooLargeError,
    Fact,
    KeyReusedError,
    Loaded,
    NameTakenError,
    NewEvent,
    Outcome,
    PendingCommand,
)
from shared.eventstore.view import BatchView, MissingError

_SALTS_DRAWN: Final = 32
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends."""

    log: str
    timeline: int
    position: int
    recorded_at: datetime
    tree: Frontier


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A command key that is in the log already."""

    request_hash: bytes
    outcome: Outcome


@lru_cache(1024)
def _kind(event_type: str) -> str:
    return event_type.split(".", 2)[1]


EventRow = tuple[int, str, int, str, datetime, bytes, bytes]
ClaimRow = tuple[str, str, str, int]
_Sealed = tuple[NewEvent, EventRow]


class _Placed(NamedTuple):
    """An event with its stream, as that was before the command."""

    event: NewEvent
    category: Category[Any]
    stream: str
    loaded: Loaded[Any]


@dataclass(slots=True)
class Batch:
    """The rows and answers that a batch of commands leads to, on top of a head."""

    head: Head
    view: BatchView
    categories: Mapping[str, Category[Any]]
    new_id: IdSource
    clock_at: datetime
    known: Mapping[str, KnownCommand]
    events: list[EventRow] = field(default_factory=list)
    claims: list[ClaimRow] = field(default_factory=list)
    accepted: dict[str, tuple[PendingCommand, Outcome]] = field(default_factory=dict)
    results: list[Outcome | Exception] = field(default_factory=list)
    size_bytes: int = 0
    tree: Frontier = field(init=False)
    _first_at: datetime = field(init=False)
    _salts: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Take the place after the head."""
        self.tree = self.head.tree.copy()
        self._first_at = max(self.head.recorded_at + _MICROSECOND, self.clock_at)
        self._salts = _draw_salts()

    @property
    def vouches(self) -> bool:
        """Whether an answer says that something is in the log, by this batch or from before."""
        return any(isinstance(one, Outcome) and one.replayed for one in self.results) or bool(
            self.accepted
        )

    @property
    def position(self) -> int:
        """The position of the last event so far."""
        return self.head.position + len(self.events)

    @property
    def recorded_at(self) -> datetime:
        """The instant at which the batch's last event is recorded, or its commands without any."""
        return self._first_at + max(0, len(self.events) - 1) * _MICROSECOND

    def decide(self, command: PendingCommand) -> None:
        """Add a command's result.

        Raises: MissingError, leaving the batch as it was.
        """
        try:
            result: Outcome | Exception = self._outcome(command)
        except MissingError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of one command is that command's alone.
            result = error
        self.results.append(result)

    def learn(self, command: PendingCommand) -> None:
        """Let the view note what a command lacks that waits behind one that lacks something."""
        with contextlib.suppress(Exception):
            if self._repeated(command) is None:
                self._place_all(command.decide(self.view))

    def _outcome(self, command: PendingCommand) -> Outcome:
        repeated = self._repeated(command)
        if repeated is not None:
            return repeated
        decision = command.decide(self.view)
        placed = self._place_all(decision)
        if command.dry_run:
            planned = [{"type": event.data.TYPE} for event in decision.events]
            return Outcome(_answer(decision, planned), None, None)
        sealed, states = self._seal_all(command.origin, placed)
        outcome = self._accept(decision, sealed, states)
        self.accepted[command.key] = (command, outcome)
        return outcome

    def _repeated(self, command: PendingCommand) -> Outcome | None:
        known = self.known.get(command.key)
        if known is None and command.key in self.accepted:
            first, outcome = self.accepted[command.key]
            known = KnownCommand(first.request_hash, outcome)
        if known is None:
            return None
        if known.request_hash != command.request_hash:
            raise KeyReusedError("the key was used before for another request")
        outcome = known.outcome
        return Outcome(outcome.answer, outcome.first_position, outcome.last_position, replayed=True)

    def _place_all(self, decision: Decision) -> list[_Placed]:
        """Give each event its stream.

        Refuses names that are taken, and learns at once everything that is not loaded yet.
        """
        placed: list[_Placed] = []
        taken: dict[Claim, str] = {}
        complete = True
        for event in decision.events:
            category = self.categories[_kind(event.data.TYPE)]
            stream = category.stream(event.subject)
            for claim in event.claims:
                try:
                    holder = taken.get(claim) or self.view.claimed(claim.kind, claim.value)
                except MissingError:
                    complete = False
                    continue
                if holder not in {None, stream}:
                    raise NameTakenError(claim)
                taken[claim] = stream
            try:
                placed.append(_Placed(event, category, stream, self.view.loaded(stream)))
            except MissingError:
                complete = False
        # Not what the whole view lacks: another command's want is not this one's.
        if not complete:
            raise MissingError
        return placed

    def _seal_all(
        self, origin: Origin, placed: Sequence[_Placed]
    ) -> tuple[list[_Sealed], dict[str, Loaded[Any]]]:
        """Make the rows of a decision, and the streams that it touches as they are after it."""
        states: dict[str, Loaded[Any]] = {}
        sealed = []
        caused = self._caused(origin)
        for offset, (event, category, stream, loaded) in enumerate(placed):
            before = states.get(stream, loaded)
            version = before.version + 1
            row = self._seal(caused, event, stream, version, offset)
            fact = Fact(row[0], event.effective_at, event.data)
            states[stream] = Loaded(category.evolve(before.state, fact), version)
            sealed.append((event, row))
        return sealed, states

    def _caused(self, origin: Origin) -> dict[str, Any]:
        """The attributes that all events of one command share."""
        attributes = {
            "specversion": "1.0",
            "source": SOURCE_PREFIX + self.head.log,
            "timeline": str(self.head.timeline),
            "actor": origin.actor,
            "credentialid": origin.credential_id,
            "door": origin.door,
            "correlationid": origin.correlation_id,
            "causationid": origin.causation_id,
        }
        if origin.organisation is not None:
            attributes["organisation"] = origin.organisation
        return attributes

    def _seal(
        self, caused: Mapping[str, Any], event: NewEvent, stream: str, version: int, offset: int
    ) -> EventRow:
        index = len(self.events) + offset
        position = self.head.position + index + 1
        recorded_at = self._first_at + index * _MICROSECOND
        attributes = {
            **caused,
            "id": self.new_id("evt_"),
            "type": event.data.TYPE,
            "subject": event.subject,
            "time": format_instant(event.effective_at),
            "position": str(position),
            "streamversion": str(version),
            "recordedtime": format_instant(recorded_at),
        }
        body, leaf = seal(attributes, event.data.to_json(), next(self._salts))
        if len(body) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of {len(body)} bytes exceeds {MAX_EVENT_BYTES}")
        return (position, stream, version, event.data.TYPE, recorded_at, leaf, body)

    def _accept(
        self,
        decision: Decision,
        sealed: Sequence[_Sealed],
        states: Mapping[str, Loaded[Any]],
    ) -> Outcome:
        """Nothing in here can fail: a command is in the batch whole or not at all."""
        self.view.put(states)
        first = self.position + 1
        made: list[dict[str, str]] = []
        about: str | None = None
        for event, row in sealed:
            if about is None and event.subject == decision.subject:
                about = row[1]
            made.append(self._made(row))
            self.events.append(row)
            self.tree.append(row[5])
            self.size_bytes += len(row[6])
            for claim in event.claims:
                if self.view.claimed(claim.kind, claim.value) is None:
                    self.view.take(claim, row[1])
                    self.claims.append((claim.kind, claim.value, row[1], row[0]))
        answer = _answer(decision, made)
        if made:
            answer["positions"] = made[-1]["position"]
        if about is not None:
            answer["version"] = states[about].version
        last = self.position
        return Outcome(answer, first if made else None, last if made else None)

    def _made(self, row: EventRow) -> dict[str, str]:
        where = Position(self.head.log, row[0], self.head.timeline)
        return {"type": row[3], "position": str(where)}


def _draw_salts() -> Iterator[bytes]:
    """Fresh salts without end. Some are drawn at once, since each draw is a system call."""
    while True:
        drawn = secrets.token_bytes(_SALTS_DRAWN * SALT_BYTES)
        for at in range(0, len(drawn), SALT_BYTES):
            yield drawn[at : at + SALT_BYTES]


def _answer(decision: Decision, events: Sequence[dict[str, str]]) -> dict[str, Any]:
    return {"id": decision.subject, "events": list(events), **decision.answer}


__all__ = ["Batch", "ClaimRow", "EventRow", "Head", "KnownCommand", "MissingError"]
