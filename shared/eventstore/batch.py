"""Owns deciding one batch of commands, in queue order, into sealed rows ready to be written.

Must not do IO: what a decision needs and nobody loaded is reported as missing.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

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


EventRow = tuple[int, str, int, str, datetime, bytes, bytes]
ClaimRow = tuple[str, str, str, int]


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

    def __post_init__(self) -> None:
        """Take the place after the head."""
        self.tree = self.head.tree.copy()
        self._first_at = max(self.head.recorded_at + _MICROSECOND, self.clock_at)

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
        """The instant at which the batch's last event is recorded."""
        if not self.events:
            return self.head.recorded_at
        return self._first_at + (len(self.events) - 1) * _MICROSECOND

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

    def _outcome(self, command: PendingCommand) -> Outcome:
        repeated = self._repeated(command)
        if repeated is not None:
            return repeated
        decision = command.decide(self.view)
        self._check_claims(decision.events)
        if command.dry_run:
            planned = [{"type": event.data.TYPE} for event in decision.events]
            return Outcome(_answer(decision, planned), None, None)
        sealed = self._seal_all(command.origin, decision.events)
        outcome = self._accept(decision, sealed)
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

    def _check_claims(self, events: Sequence[NewEvent]) -> None:
        """Refuse names that are taken, and learn at once everything that is not loaded yet."""
        taken: dict[Claim, str] = {}
        complete = True
        for event in events:
            stream = self._category(event).stream(event.subject)
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
                self.view.load(self._category(event), event.subject)
            except MissingError:
                complete = False
        # Not what the whole view lacks: another command's want is not this one's.
        if not complete:
            raise MissingError

    def _category(self, event: NewEvent) -> Category[Any]:
        return self.categories[event.data.TYPE.split(".", 2)[1]]

    def _seal_all(self, origin: Origin, events: Sequence[NewEvent]) -> list[tuple[EventRow, Fact]]:
        versions: dict[str, int] = {}
        sealed = []
        for offset, event in enumerate(events):
            category = self._category(event)
            stream = category.stream(event.subject)
            version = versions.get(stream) or self.view.load(category, event.subject).version
            versions[stream] = version + 1
            sealed.append(self._seal(origin, event, stream, version + 1, offset))
        return sealed

    def _seal(
        self, origin: Origin, event: NewEvent, stream: str, version: int, offset: int
    ) -> tuple[EventRow, Fact]:
        position = self.position + offset + 1
        recorded_at = self._first_at + (len(self.events) + offset) * _MICROSECOND
        attributes = {
            "specversion": "1.0",
            "id": self.new_id("evt_"),
            "source": SOURCE_PREFIX + self.head.log,
            "type": event.data.TYPE,
            "subject": event.subject,
            "time": format_instant(event.effective_at),
            "datacontenttype": "application/json",
            "position": str(position),
            "timeline": str(self.head.timeline),
            "streamversion": str(version),
            "recordedtime": format_instant(recorded_at),
            "actor": origin.actor,
            "credentialid": origin.credential_id,
            "door": origin.door,
            "correlationid": origin.correlation_id,
            "causationid": origin.causation_id,
        }
        if origin.organisation is not None:
            attributes["organisation"] = origin.organisation
        body, leaf = seal(attributes, event.data.to_json(), secrets.token_bytes(SALT_BYTES))
        if len(body) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of {len(body)} bytes exceeds {MAX_EVENT_BYTES}")
        row = (position, stream, version, event.data.TYPE, recorded_at, leaf, body)
        return row, Fact(position, event.effective_at, event.data)

    def _accept(self, decision: Decision, sealed: list[tuple[EventRow, Fact]]) -> Outcome:
        """Nothing behind the fold can fail: a command is in the batch whole or not at all."""
        states = self._fold(decision, sealed)
        self.view.put(states)
        first = self.position + 1
        made_of = list(zip(decision.events, sealed, strict=True))
        for event, (row, _) in made_of:
            self.events.append(row)
            self.tree.append(row[5])
            self.size_bytes += len(row[6])
            for claim in event.claims:
                if self.view.claimed(claim.kind, claim.value) is None:
                    self.view.take(claim, row[1])
                    self.claims.append((claim.kind, claim.value, row[1], row[0]))
        made = [self._made(row) for row, _ in sealed]
        answer = _answer(decision, made)
        if made:
            answer["positions"] = made[-1]["position"]
        about = [row[1] for event, (row, _) in made_of if event.subject == decision.subject]
        if about:
            answer["version"] = states[about[0]].version
        last = self.position
        return Outcome(answer, first if made else None, last if made else None)

    def _fold(
        self, decision: Decision, sealed: list[tuple[EventRow, Fact]]
    ) -> dict[str, Loaded[Any]]:
        """The streams that the decision touches, as they are after it."""
        states: dict[str, Loaded[Any]] = {}
        for event, (row, fact) in zip(decision.events, sealed, strict=True):
            category, stream = self._category(event), row[1]
            before = states.get(stream) or self.view.load(category, event.subject)
            states[stream] = Loaded(category.evolve(before.state, fact), before.version + 1)
        return states

    def _made(self, row: EventRow) -> dict[str, str]:
        where = Position(self.head.log, row[0], self.head.timeline)
        return {"type": row[3], "position": str(where)}


def _answer(decision: Decision, events: Sequence[dict[str, str]]) -> dict[str, Any]:
    return {"id": decision.subject, "events": list(events), **decision.answer}


__all__ = ["Batch", "ClaimRow", "EventRow", "Head", "KnownCommand", "MissingError"]
