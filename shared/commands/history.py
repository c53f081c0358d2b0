"""Owns a subject's facts over effective time, attribute by attribute, as deciders look at them.

Must not read the clock: every question names its instant.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.contracts.facts import Facts
from shared.eventstore.types import Category, Fact


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of one attribute, true from an instant until the next entry's."""

    effective_at: datetime
    position: int
    value: Any


@dataclass(frozen=True, slots=True)
class History:
    """Every attribute's entries by effective time; equal times are in log order."""

    timelines: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    def at(self, attribute: str, instant: datetime) -> Any:
        """The value in force at an instant; None when there is none."""
        entries = self.timelines.get(attribute, ())
        index = bisect_right(entries, instant, key=_effective_at)
        return entries[index - 1].value if index else None

    def before(self, attribute: str, instant: datetime) -> Any:
        """The value that the one in force at an instant replaced; None when there is none."""
        value, entries = self.at(attribute, instant), self.timelines.get(attribute, ())
        earlier = entries[: bisect_right(entries, instant, key=_effective_at)]
        return next((one.value for one in reversed(earlier) if one.value != value), None)

    def after(self, attribute: str, instant: datetime) -> tuple[Entry, ...]:
        """The entries that take effect later than an instant."""
        entries = self.timelines.get(attribute, ())
        return entries[bisect_right(entries, instant, key=_effective_at) :]

    def since(self, attribute: str) -> datetime | None:
        """The instant of an attribute's first entry; None when it never had one."""
        entries = self.timelines.get(attribute, ())
        return entries[0].effective_at if entries else None

    def with_facts(
        self,
        facts: Facts,
        *,
        effective_at: datetime,
        position: int,
        corrects: tuple[int, ...] = (),
    ) -> "History":
        """The history once an event has stated these facts and taken back those it corrects."""
        timelines = dict(self.timelines)
        if corrects:
            timelines = {name: _without(entries, corrects) for name, entries in timelines.items()}
        for attribute, value in facts:
            entries = timelines.get(attribute, ())
            index = bisect_right(entries, effective_at, key=_effective_at)
            entry = Entry(effective_at, position, value)
            timelines[attribute] = (*entries[:index], entry, *entries[index:])
        return History(timelines)


def category_of_facts(kind: str, facts_of: Callable[[Any], Facts]) -> Category[History]:
    """The category whose state is the history of what its events state.

    An event whose content was redacted states nothing any more.
    """

    def evolve(state: History, fact: Fact) -> History:
        if fact.data is None:
            return state
        return state.with_facts(
            facts_of(fact.data),
            effective_at=fact.effective_at,
            position=fact.position,
            corrects=fact.data.corrects,
        )

    return Category(kind, History(), evolve)


def _effective_at(entry: Entry) -> datetime:
    return entry.effective_at


def _without(entries: tuple[Entry, ...], positions: tuple[int, ...]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.position not in positions)
