"""Owns the words of the event store: categories, decisions, commands, their outcomes and errors.

Must not do IO.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from shared.contracts.envelope import Origin
from shared.contracts.events.model import EventData

S = TypeVar("S")


class Fact(NamedTuple):
    """An event as a fold sees it; `data` is None once its content was redacted."""

    position: int
    effective_at: datetime
    data: EventData | None


@dataclass(frozen=True, slots=True)
class Category(Generic[S]):
    """One kind of stream: how its state begins and how each fact changes it, purely."""

    kind: str
    initial: S
    evolve: Callable[[S, Fact], S]

    def stream(self, subject: str) -> str:
        """Name the stream of one subject of this kind."""
        return f"{self.kind}-{subject}"


class Loaded(NamedTuple, Generic[S]):
    """A stream's state at a version; version 0 is a stream that does not exist."""

    state: S
    version: int


class View(Protocol):
    """What a decision may look at: the log as it is under the gate, and the batch before it."""

    def claimed(self, kind: str, value: str) -> str | None:
        """The stream that holds a unique name, or None when the name is free."""
        ...

    def first_free(self, kind: str, values: Sequence[str]) -> str | None:
        """The first of these unique names that nobody holds, or None when all are taken."""
        ...

    def load(self, category: Category[S], subject: str) -> Loaded[S]:
        """The state of a stream; the initial state and version 0 when it does not exist."""
        ...

    def looked_up(self, question: str, about: str) -> Any:
        """What the service's own read models answer to a question about another log's things."""
        ...


class Claim(NamedTuple):
    """A name that only one stream may ever hold, say a slug or an alias."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact that a decision wants in the log."""

    subject: str
    data: EventData
    effective_at: datetime
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command leads to: facts (none when it changes nothing) and what to answer.

    `answer` joins the outcome that the command's key replays for ever.
    """

    subject: str
    events: tuple[NewEvent, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)


Decide = Callable[[View], Decision]
LookUp = Callable[[Collection[tuple[str, str]]], Awaitable[Mapping[tuple[str, str], Any]]]
"""Answers questions about things of other logs: (question, about) -> answer, None when unknown."""


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command on its way into the log.

    `key` is unique per intended effect; `request_hash` tells a repeat from a reuse. `decide` is
    pure and synchronous, raises `CommandRefusedError` for what the estate's rules forbid, and
    may be called several times. `dry_run` decides without writing.
    """

    key: str
    request_hash: bytes
    origin: Origin
    decide: Decide
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an accepted command: `answer` is JSON and equal each time its key is repeated.

    `first_position` and `last_position` are None when it changed nothing.
    """

    answer: Mapping[str, Any]
    first_position: int | None
    last_position: int | None
    replayed: bool = False


class EventStoreError(Exception):
    """Something kept a command out of the log."""


class CommandRefusedError(EventStoreError):
    """The estate's rules forbid the command; subclasses say what is true."""


class KeyReusedError(CommandRefusedError):
    """The command's key was used before for a request that differs."""


class NameTakenError(CommandRefusedError):
    """A unique name belongs to another stream."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"the {claim.kind.replace('.', ' ')} is taken")
        self.claim = claim


class EventTooLargeError(CommandRefusedError):
    """An event would be larger than what can be published."""


class LogUnavailableError(EventStoreError):
    """The log cannot be written now; nothing was, and the same command may be sent again."""


class OverloadedError(LogUnavailableError):
    """More commands wait than the writer will hold."""


class ClockSuspectError(LogUnavailableError):
    """The clocks of process and database differ by more than the log will put its name to."""


class LogHaltedError(LogUnavailableError):
    """The log was halted because what it published and what it holds disagree."""


class AnotherLogError(LogUnavailableError):
    """The database belongs to another log."""

    def __init__(self, log: str, found: str) -> None:
        super().__init__(f"the database belongs to the log {found}, not to {log}")


class OutcomeUnknownError(EventStoreError):
    """The connection was lost during commit and could not be had again in time.

    The command may or may not be in the log; sent again with its key, it is resolved.
    """
