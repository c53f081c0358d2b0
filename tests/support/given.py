"""Owns asking a decider as the log would: given(events).when(command).then(events | refusal).

Must not fold or validate by rules of its own: events pass through JSON and the real `evolve`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import orjson
import pytest

from services.dependencies.dependencies.decider import DEPENDENCY
from services.registry.organisations.decider import ORGANISATION
from services.registry.services.decider import SERVICE
from shared.auth.principals import Principal
from shared.commands.command import Context, Decider
from shared.commands.refusals import Refusal
from shared.contracts.canonical import canonical_bytes, check_canonical
from shared.contracts.events.model import EventData
from shared.eventstore.types import Category, Claim, Decision, Fact, Loaded, NewEvent
from tests.support.builders import admin
from tests.support.clock import NOON
from tests.support.ids import numbered

S = TypeVar("S")
NEW_ID = numbered("", 0xABC)
_CATEGORIES = {one.kind: one for one in (ORGANISATION, SERVICE, DEPENDENCY)}


def through_json(data: EventData) -> EventData:
    """What a reader of the log gets."""
    tree = data.to_json()
    check_canonical(tree)
    return type(data).model_validate(orjson.loads(canonical_bytes(tree)))


@dataclass
class MemoryView:
    """The log as a decision sees it, without a log; see `View`."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    states: dict[str, Loaded[Any]] = field(default_factory=dict)
    claims: dict[Claim, str] = field(default_factory=dict)
    position: int = 0

    def add(self, events: Iterable[NewEvent]) -> "MemoryView":
        for event in events:
            category: Category[Any] = _CATEGORIES[event.data.TYPE.split(".", 2)[1]]
            before = self.load(category, event.subject)
            self.position += 1
            fact = Fact(self.position, event.effective_at, through_json(event.data))
            after = Loaded(category.evolve(before.state, fact), before.version + 1)
            self.states[category.stream(event.subject)] = after
            for claim in event.claims:
                assert self.claims.setdefault(claim, category.stream(event.subject))
        return self

    def claimed(self, kind: str, value: str) -> str | None:
        return self.claims.get(Claim(kind, value))

    def first_free(self, kind: str, values: Sequence[str]) -> str | None:
        return next((value for value in values if self.claimed(kind, value) is None), None)

    def load(self, category: Category[S], subject: str) -> Loaded[S]:
        return self.states.get(category.stream(subject), Loaded(category.initial, 0))

    def looked_up(self, _question: str, about: str) -> Any:
        return self.answers.get(about)


@dataclass(frozen=True)
class Asked:
    """A decision that has been asked for, and not yet made."""

    decide: Callable[[], Decision]

    def then(self, *data: EventData) -> Decision:
        """These facts and no others are made, about one subject and from one instant."""
        decision = self.decide()
        assert [through_json(event.data) for event in decision.events] == [
            through_json(one) for one in data
        ]
        assert {event.subject for event in decision.events} <= {decision.subject}
        return decision

    def then_nothing(self) -> Decision:
        """The command is accepted and changes nothing; the answer tells the present version."""
        decision = self.then()
        assert "version" in decision.answer
        return decision

    def then_refused(self, kind: type[Refusal], pointer: str | None = None) -> Refusal:
        """Exactly this rule forbids it, and points where it says."""
        with pytest.raises(Refusal) as refused:
            self.decide()
        assert type(refused.value) is kind
        assert refused.value.pointer == pointer
        return refused.value


@dataclass(frozen=True)
class Given:
    """A log to ask."""

    view: MemoryView

    def when(
        self,
        decide: Decider[Any],
        command: Any,
        target: str | None = None,
        *,
        by: Principal | None = None,
        now: datetime = NOON,
        effective_at: datetime | None = None,
        if_match: int | None = None,
    ) -> Asked:
        """An administrator asks at noon, unless said otherwise."""
        context = Context(by or admin(), now, effective_at or now, NEW_ID, if_match)
        return Asked(lambda: decide(command, target, context, self.view))


def given(*events: NewEvent, answers: Mapping[str, Any] | None = None) -> Given:
    """The log holds these events; other logs' read models give these answers."""
    return Given(MemoryView(answers or {}).add(events))
