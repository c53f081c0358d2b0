"""Owns the rules of dependencies. Pure: no clock, no ids, no IO.

An end may be unknown to the registry: mapping is iterative, so nothing is refused for that.
"""

import hashlib
from collections.abc import Mapping
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
    DependencyKind,
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


class DependencyAlreadyDeclaredError(
    Refusal,
    slug="dependency-already-declared",
    title="Another dependency has, or had, these ends and this kind",
    advice="Change or declare that one again; withdraw this one if both mean the same.",
):
    """Ends and kind name one dependency for ever."""


class DependencyKindDiffersError(
    Refusal,
    slug="dependency-kind-differs",
    title="The dependency of these ends and this kind has another kind at that time",
    advice="Change its kind; or declare a further dependency under an alias of its own.",
):
    """Declaring does not change the kind of what was declared, unless its alias is named."""


DEPENDENCY = category_of_facts("dependency", dependency_facts)


def declare(
    command: DeclareDependency, target: str | None, context: Context, view: View
) -> Decision:
    """Declare a dependency; known by its alias, else by its ends and kind.

    Declared again after it was withdrawn, it keeps its id. Under a further alias it gets that name.
    """
    keeper = view.looked_up(KEEPER, command.from_)
    if keeper is not None:
        context.require_keeper(keeper, "the dependent service")
    alias = target if target is not None and is_alias(target) else None
    ends = ends_claim(command.from_, command.to.model_dump(mode="json"), command.kind)
    subject = _declared_before(alias, ends, command.kind, context, view)
    if subject is None:
        event = _declared(command, alias, context.principal.organisation)
        names = (*_alias_claims(view, alias), *_free(view, ends))
        return _decided(f"{PREFIX}_{context.new_id}", event, context, *names)
    return _declare_again(command, subject, alias, ends, context, view)


def _declare_again(
    command: DeclareDependency,
    subject: str,
    alias: str | None,
    ends: Claim,
    context: Context,
    view: View,
) -> Decision:
    loaded = view.load(DEPENDENCY, subject)
    declarant = _latest(loaded.state, "declarant") or context.principal.organisation
    event = _declared(command, alias or _latest(loaded.state, "alias"), declarant)
    between = _latest(loaded.state, "from"), _latest(loaded.state, "to")
    stated = dict(dependency_facts(event))
    if between != (stated["from"], stated["to"]) and between != (None, None):
        raise DependencyDiffersError("the alias is declared between other ends", "/subject")
    _require_keeper(view, context, loaded.state)
    names = _alias_claims(view, alias)
    holds = all(loaded.state.at(name, context.effective_at) == stated[name] for name in _STATED)
    if holds and not names:
        return Decision(subject, answer={"version": loaded.version})
    if _kind_at(loaded.state, context) == command.kind:
        return _decided(subject, event, context, *names, *_free(view, ends))
    return _decided(subject, event, context, *names, *_kind_claims(view, ends, subject))


_STATED: Final = ("declared", "kind", "criticality")


def change(command: ChangeDependency, target: str | None, context: Context, view: View) -> Decision:
    """Change kind or criticality from the effective time on; what already holds is left out."""
    dependency = _target(view, target, context)
    if not dependency.history.at("declared", context.effective_at):
        raise NotKnownAtError("the dependency was withdrawn by then", "/effective_from")
    changes = {
        name: getattr(command, name)
        for name in sorted(command.model_fields_set & {"kind", "criticality"})
        if dependency.history.at(name, context.effective_at) != getattr(command, name)
    }
    if not changes:
        return dependency.unchanged()
    event = DependencyChanged(**changes, reason=command.reason)
    from_, to = (_latest(dependency.history, end) for end in ("from", "to"))
    if event.kind is None or from_ is None:
        return dependency.decided(event)
    ends = ends_claim(from_, to, event.kind)
    return dependency.decided(event, *_kind_claims(view, ends, dependency.subject))


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

    def decided(self, data: EventData, *claims: Claim) -> Decision:
        """The command becomes one fact."""
        return _decided(self.subject, data, self.context, *claims)


def _target(view: View, reference: str | None, context: Context) -> _Target:
    stream = None
    if reference is not None and is_id(reference, PREFIX):
        stream = DEPENDENCY.stream(reference)
    elif reference is not None and is_alias(reference):
        stream = view.claimed(f"{DEPENDENCY.kind}.alias", reference)
    subject = _subject(stream or "")
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


def _kind_at(history: History, context: Context) -> Any:
    """The kind at the effective time; before the first declaration, the kind of that."""
    kinds = history.timelines.get("kind", ())
    return history.at("kind", context.effective_at) or (kinds[0].value if kinds else None)


def _latest(history: History, attribute: str) -> Any:
    entries = history.timelines.get(attribute, ())
    return entries[-1].value if entries else None


def ends_claim(from_: str, to: Mapping[str, Any], kind: DependencyKind) -> Claim:
    """The name that a dependency has by its ends, as they are written, and its kind."""
    digest = hashlib.sha256(canonical_bytes([from_, to, kind.value])).hexdigest()
    return Claim(f"{DEPENDENCY.kind}.ends", digest)


def _declared_before(
    alias: str | None, ends: Claim, kind: DependencyKind, context: Context, view: View
) -> str | None:
    """Which dependency a declaration is about; None when it makes a new one."""
    stream = None if alias is None else view.claimed(f"{DEPENDENCY.kind}.alias", alias)
    if stream is not None:
        return _subject(stream)
    stream = view.claimed(ends.kind, ends.value)
    if stream is None:
        return None
    subject = _subject(stream)
    has = _kind_at(view.load(DEPENDENCY, subject).state, context)
    if has in {kind, None}:
        return subject
    if alias is None:
        raise DependencyKindDiffersError(f"{subject} is of the kind {has} at that time", "/kind")
    return None


def _alias_claims(view: View, alias: str | None) -> tuple[Claim, ...]:
    return () if alias is None else _free(view, Claim(f"{DEPENDENCY.kind}.alias", alias))


def _free(view: View, claim: Claim) -> tuple[Claim, ...]:
    return (claim,) if view.claimed(claim.kind, claim.value) is None else ()


def _kind_claims(view: View, ends: Claim, subject: str) -> tuple[Claim, ...]:
    """The name that a dependency takes with a new kind, unless it had that before."""
    holder = view.claimed(ends.kind, ends.value)
    if holder not in {None, DEPENDENCY.stream(subject)}:
        raise DependencyAlreadyDeclaredError(f"that is {_subject(holder or '')}", "/kind")
    return _free(view, ends)


def _subject(stream: str) -> str:
    return stream.removeprefix(f"{DEPENDENCY.kind}-")


def _declared(
    command: DeclareDependency, alias: str | None, declarant: str | None
) -> DependencyDeclared:
    return DependencyDeclared.model_validate(
        {
            "from": command.from_,
            "to": command.to.model_dump(mode="json"),
            "kind": command.kind,
            "criticality": command.criticality,
            "alias": alias,
            "declarant": declarant,
            "reason": command.reason,
        }
    )


def _decided(subject: str, data: EventData, context: Context, *claims: Claim) -> Decision:
    return Decision(subject, (NewEvent(subject, data, context.effective_at, claims),))
