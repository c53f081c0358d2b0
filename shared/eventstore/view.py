"""Owns what decisions look at: a bounded cache of stream states, and one batch's changes over it.

Must not decide anything, and must not do IO: what is missing is named and loaded by the writer.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from shared.contracts.envelope import Event
from shared.contracts.events import read_data
from shared.eventstore.types import Category, Claim, Fact, Loaded

S = TypeVar("S")

_MAX_CACHED: Final = 50_000


class MissingError(Exception):
    """A decision needs something that is not loaded yet; the writer loads it and decides again."""


class Cache:
    """States and claims as of one position of the log, least recently used dropped first."""

    def __init__(self, categories: Mapping[str, Category[Any]]) -> None:
        self.position = 0
        self._categories = categories
        self._states: OrderedDict[str, Loaded[Any]] = OrderedDict()
        self._claims: OrderedDict[Claim, str | None] = OrderedDict()

    def state(self, stream: str) -> Loaded[Any] | None:
        """The cached state of a stream."""
        loaded = self._states.get(stream)
        if loaded is not None:
            self._states.move_to_end(stream)
        return loaded

    def knows_claim(self, claim: Claim) -> bool:
        """Whether the cache can say who holds the name, or that nobody does."""
        return claim in self._claims

    def holder(self, claim: Claim) -> str | None:
        """The stream that holds the name."""
        return self._claims[claim]

    def put_state(self, stream: str, loaded: Loaded[Any]) -> None:
        """Remember a stream's state."""
        self._states[stream] = loaded
        self._states.move_to_end(stream)
        if len(self._states) > _MAX_CACHED:
            self._states.popitem(last=False)

    def put_claim(self, claim: Claim, stream: str | None) -> None:
        """Remember who holds a name; None: nobody."""
        self._claims[claim] = stream
        self._claims.move_to_end(claim)
        if len(self._claims) > _MAX_CACHED:
            self._claims.popitem(last=False)

    def fold(self, stream: str, events: list[Event]) -> Loaded[Any]:
        """Build a stream's state from all its events, in order."""
        category = self._categories[stream.partition("-")[0]]
        state = category.initial
        for event in events:
            state = category.evolve(state, _fact(event))
        return Loaded(state, len(events))

    def forget(self) -> None:
        """Drop everything, because another process has written to the log."""
        self._states.clear()
        self._claims.clear()


def _fact(event: Event) -> Fact:
    return Fact(event.position, event.effective_at, read_data(event))


class BatchView:
    """The cache with the changes of the batch's earlier commands laid over it.

    Nothing reaches the cache before `keep`, so a batch that fails leaves no trace.
    """

    def __init__(
        self,
        cache: Cache,
        answers: Mapping[tuple[str, str], Any],
        unreadable: Mapping[str, Exception] | None = None,
    ) -> None:
        self._cache = cache
        self._unreadable = dict(unreadable or {})
        self._states: dict[str, Loaded[Any]] = {}
        self._claims: dict[Claim, str] = {}
        self._answers = dict(answers)
        self.missing_answers: set[tuple[str, str]] = set()
        self.missing_streams: set[str] = set()
        self.missing_claims: set[Claim] = set()

    def claimed(self, kind: str, value: str) -> str | None:
        """See `View.claimed`.

        Raises: MissingError.
        """
        claim = Claim(kind, value)
        if claim in self._claims:
            return self._claims[claim]
        if not self._cache.knows_claim(claim):
            self.missing_claims.add(claim)
            raise MissingError
        return self._cache.holder(claim)

    def first_free(self, kind: str, values: Sequence[str]) -> str | None:
        """See `View.first_free`; all that is missing is asked for at once.

        Raises: MissingError.
        """
        claims = [Claim(kind, value) for value in values]
        for claim in claims:
            if not self._knows(claim):
                self.missing_claims.update(one for one in claims if not self._knows(one))
                raise MissingError
            if self.claimed(claim.kind, claim.value) is None:
                return claim.value
        return None

    def _knows(self, claim: Claim) -> bool:
        return claim in self._claims or self._cache.knows_claim(claim)

    def load(self, category: Category[S], subject: str) -> Loaded[S]:
        """See `View.load`.

        Raises: MissingError; what kept a stream from being read, to whoever needs that stream.
        """
        return self.loaded(category.stream(subject))

    def loaded(self, stream: str) -> Loaded[Any]:
        """As `load`, by the stream's name."""
        if stream in self._unreadable:
            raise self._unreadable[stream]
        loaded = self._states.get(stream) or self._cache.state(stream)
        if loaded is None:
            self.missing_streams.add(stream)
            raise MissingError
        return loaded

    def looked_up(self, question: str, about: str) -> Any:
        """See `View.looked_up`.

        Raises: MissingError.
        """
        if (question, about) not in self._answers:
            self.missing_answers.add((question, about))
            raise MissingError
        return self._answers[question, about]

    @property
    def is_complete(self) -> bool:
        """Whether no decision asked for something that was not loaded."""
        return not (self.missing_claims or self.missing_streams or self.missing_answers)

    def add(
        self, answers: Mapping[tuple[str, str], Any], unreadable: Mapping[str, Exception]
    ) -> None:
        """Take in what was looked up and what could not be read, and ask anew for what lacks."""
        self._answers.update(answers)
        self._unreadable.update(unreadable)
        self.missing_answers.clear()
        self.missing_streams.clear()
        self.missing_claims.clear()

    def put(self, states: Mapping[str, Loaded[Any]]) -> None:
        """Let later commands of the batch see streams as they are now."""
        self._states.update(states)

    def take(self, claim: Claim, stream: str) -> None:
        """Let later commands of the batch see that a name is taken."""
        self._claims[claim] = stream

    def keep(self, position: int) -> None:
        """Move the batch's changes into the cache, once they are in the log."""
        for stream, loaded in self._states.items():
            self._cache.put_state(stream, loaded)
        for claim, stream in self._claims.items():
            self._cache.put_claim(claim, stream)
        self._cache.position = position
