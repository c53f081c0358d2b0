"""Owns the rules of dependencies. Pure: no clock, no ids, no IO.

An end may be unknown to the registry: mapping is iterative, so nothing is refused for that.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from services.dependencies.dependencies.commands import (
    ChangeDependency,
    DeclareDependency,
    WithdrawDependency,
)
from shared.commands.command import Context
from shared.commands.history import History, category_of_facts
from shared.commands.refusals import NotFoundError, NotKnownAtError, Refusal
from shared.contracts.canonical import canonical_bytes
from shared.contracts.events.dependencies import (
    DependencyChanged,
    DependencyDeclared,
    DependencyWithdrawn,
)
from shared.contracts.events.model import EventData
from shared.contracts.facts.dependencies import dependency_facts
from shared.contracts.names import is_alias, is_id
from shared.eventstore.types import Claim, Decision, NewEvent, View

PREFIX: Final = "dep"
KEEPER: Final = "keeper"
"""The question that read models answer: which organisation keeps the service of this reference."""


class DependencyDiffersError(
    Refusal,
    slug="dependency-differs",
    title="A dependency is declared under this name between other ends",
    advice="Use another alias, or withdraw the one that is declared and declare a new one.",
):
    """An alias names one pair of ends for ever."""


DEPENDENCY = category_of_facts("dependency", dependency_facts)


def declare(
    command: DeclareDependency, target: str | None, context: Context, view: View
) -> Decision:
    """Declare a dependency; known by its alias, or by its ends and kind when it has none.

    Declared again after it was withdrawn, it keeps its id.
    """
    keeper = view.looked_up(KEEPER, command.from_)
    if keeper is not None:
        context.require_keeper(keeper, "the dependent service")
    claim = _claim(command, target)
    stream = view.claimed(claim.kind, claim.value)
    if stream is None:
        event = _declared(command, claim, context.principal.organisation)
        return _decided(f"{PREFIX}_{context.new_id}", event, context, claim)
    subject = stream.removeprefix(f"{DEPENDENCY.kind}-")
    loaded = view.load(DEPENDENCY, subject)
    declarant = _latest(loaded.state, "declarant") or context.principal.organisation
    event = _declared(command, claim, declarant)
    ends = _latest(loaded.state, "from"), _latest(loaded.state, "to")
    stated = dict(dependency_facts(event))
    if ends != (stated["from"], stated["to"]) and ends != (None, None):
        raise DependencyDiffersError("the alias is declared between other ends", "/subject")
    _require_keeper(view, context, loaded.state)
    if all(loaded.state.at(name, context.effective_at) == stated[name] for name in _STATED):
        return Decision(subject, answer={"version": loaded.version})
    return _decided(subject, event, context)


_STATED: Final = ("declared", "kind", "criticality")


def change(command: ChangeDependency, target: str | None, context: Context, view: View) -> Decision:
    """Change kind or criticality from the effective time on; what already holds is left out."""
    dependency = _target(view, target, context)
    changes = {
        name: getattr(command, name)
        for name in sorted(command.model_fields_set & {"kind", "criticality"})
        if dependency.history.at(name, context.effective_at) != getattr(command, name)
    }
    if not changes:
        return dependency.unchanged()
    return dependency.decided(DependencyChanged(**changes, reason=command.reason))


def withdraw(
    command: WithdrawDependency, target: str | None, context: Context, view: View
) -> Decision:
    """Withdraw a dependency from the effective time on; withdrawn already, nothing changes."""
    dependency = _target(view, target, context)
    if not dependency.history.at("declared", context.effective_at):
        return dependency.unchanged()
    return dependency.decided(DependencyWithdrawn(reason=command.reason))


@dataclass(frozen=True, slots=True)
class _Target:
    """A dependency that the caller may change."""

    subject: str
    version: int
    history: History
    context: Context

    def unchanged(self) -> Decision:
        """The command is already true."""
        return Decision(self.subject, answer={"version": self.version})

    def decided(self, data: EventData) -> Decision:
        """The command becomes one fact."""
        return _decided(self.subject, data, self.context)


def _target(view: View, reference: str | None, context: Context) -> _Target:
    stream = None
    if reference is not None and is_id(reference, PREFIX):
        stream = DEPENDENCY.stream(reference)
    elif reference is not None and is_alias(reference):
        stream = view.claimed(f"{DEPENDENCY.kind}.alias", reference)
    subject = (stream or "").removeprefix(f"{DEPENDENCY.kind}-")
    loaded = view.load(DEPENDENCY, subject)
    if loaded.version == 0:
        raise NotFoundError("no dependency answers to this reference")
    _require_keeper(view, context, loaded.state)
    context.require_version(loaded)
    if loaded.state.at("from", context.effective_at) is None:
        raise NotKnownAtError("the dependency was not declared at that time", "/effective_from")
    return _Target(subject, loaded.version, loaded.state, context)


def _require_keeper(view: View, context: Context, history: History) -> None:
    """The dependent's keeper decides; while the registry does not know it, whoever declared it."""
    from_ = _latest(history, "from")
    keeper = view.looked_up(KEEPER, from_) or _latest(history, "declarant")
    context.require_keeper(keeper, "the dependency")


def _latest(history: History, attribute: str) -> Any:
    entries = history.timelines.get(attribute, ())
    return entries[-1].value if entries else None


def _claim(command: DeclareDependency, target: str | None) -> Claim:
    if target is not None and is_alias(target):
        return Claim(f"{DEPENDENCY.kind}.alias", target)
    ends = [command.from_, command.to.model_dump(mode="json"), command.kind.value]
    digest = hashlib.sha256(canonical_bytes(ends)).hexdigest()
    return Claim(f"{DEPENDENCY.kind}.ends", digest)


def _declared(
    command: DeclareDependency, claim: Claim, declarant: str | None
) -> DependencyDeclared:
    return DependencyDeclared.model_validate(
        {
            "from": command.from_,
            "to": command.to.model_dump(mode="json"),
            "kind": command.kind,
            "criticality": command.criticality,
            "alias": claim.value if claim.kind.endswith(".alias") else None,
            "declarant": declarant,
            "reason": command.reason,
        }
    )


def _decided(subject: str, data: EventData, context: Context, *claims: Claim) -> Decision:
    return Decision(subject, (NewEvent(subject, data, context.effective_at, claims),))
