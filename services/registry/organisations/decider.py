"""Owns the rules of organisations. Pure: no clock, no ids, no IO of its own."""

from typing import cast

from services.registry.organisations.commands import RegisterOrganisation, RenameOrganisation
from shared.commands.command import Context, resolve
from shared.commands.history import History
from shared.commands.refusals import NotFoundError, NotKnownAtError, Refusal
from shared.contracts.events.organisations import (
    OrganisationKind,
    OrganisationRegistered,
    OrganisationRenamed,
)
from shared.contracts.facts.organisations import OrganisationEvent, organisation_facts
from shared.contracts.names import is_alias, slugify
from shared.eventstore.types import Category, Claim, Decision, Fact, NewEvent, View

PREFIX = "org"


class OrganisationAlreadyRegisteredError(
    Refusal,
    slug="organisation-already-registered",
    title="An organisation is registered under this name already",
    advice="Use the registered organisation, or choose another slug or alias.",
):
    """A slug or alias belongs to an organisation."""


def evolve(state: History, fact: Fact) -> History:
    """Add an event's facts to the history."""
    if fact.data is None:
        return state
    return state.with_facts(
        organisation_facts(cast("OrganisationEvent", fact.data)),
        effective_at=fact.effective_at,
        position=fact.position,
        corrects=fact.data.corrects,
    )


ORGANISATION = Category("organisation", History(), evolve)


def require_organisation(view: View, context: Context, reference: str, pointer: str) -> str:
    """Find an organisation that existed at the effective time, and return its id.

    Raises: NotFoundError, NotKnownAtError.
    """
    subject = resolve(view, ORGANISATION, PREFIX, reference)
    if subject is None:
        raise NotFoundError("no organisation answers to this reference", pointer)
    history = view.load(ORGANISATION, subject).state
    if history.at("name", context.effective_at) is None:
        raise NotKnownAtError("the organisation was not registered at that time", pointer)
    return subject


def register(
    command: RegisterOrganisation, target: str | None, context: Context, view: View
) -> Decision:
    """Register an organisation under a free slug and free aliases.

    An emitter registers teams under its own organisation; an administrator anything.
    """
    parent = None
    if command.parent is not None:
        parent = require_organisation(view, context, command.parent, "/parent")
    team = command.kind is OrganisationKind.TEAM
    context.require_keeper(parent if team else None, "the organisation above")
    aliases = _aliases(command.aliases, target)
    slug = command.slug or free_slug(view, ORGANISATION.kind, command.name)
    for kind, value in [("slug", slug), *(("alias", alias) for alias in aliases)]:
        if view.claimed(f"{ORGANISATION.kind}.{kind}", value) is not None:
            raise OrganisationAlreadyRegisteredError(f"the {kind} is taken", f"/{kind}")
    subject = f"{PREFIX}_{context.new_id}"
    event = OrganisationRegistered(
        name=command.name,
        kind=command.kind,
        slug=slug,
        parent=parent,
        aliases=aliases,
        reason=command.reason,
    )
    claims = claims_of(ORGANISATION.kind, slug, aliases)
    answer = {"slug": slug}
    return Decision(subject, (NewEvent(subject, event, context.effective_at, claims),), answer)


def rename(
    command: RenameOrganisation, target: str | None, context: Context, view: View
) -> Decision:
    """Give an organisation another name from the effective time on."""
    subject = require_organisation(view, context, target or "", "/subject")
    loaded = view.load(ORGANISATION, subject)
    parent = loaded.state.at("parent", context.now)
    team = loaded.state.at("kind", context.now) == OrganisationKind.TEAM
    context.require_keeper(parent if team else subject, "the organisation")
    context.require_version(loaded)
    if loaded.state.at("name", context.effective_at) == command.name:
        return Decision(subject, answer={"version": loaded.version})
    event = OrganisationRenamed(name=command.name, reason=command.reason)
    return Decision(subject, (NewEvent(subject, event, context.effective_at),))


def free_slug(view: View, kind: str, name: str) -> str:
    """Derive a slug from a name and number it when it is taken."""
    stem = slugify(name) or kind
    slug, number = stem, 1
    while view.claimed(f"{kind}.slug", slug) is not None:
        number += 1
        slug = f"{stem[:90]}-{number}"
    return slug


def claims_of(kind: str, slug: str, aliases: tuple[str, ...]) -> tuple[Claim, ...]:
    """The names that a registration takes for ever."""
    return (Claim(f"{kind}.slug", slug), *(Claim(f"{kind}.alias", alias) for alias in aliases))


def _aliases(named: tuple[str, ...], target: str | None) -> tuple[str, ...]:
    """The aliases given, and the submission's subject, which is the emitter's name for it."""
    subject = (target,) if target is not None and is_alias(target) else ()
    return tuple(dict.fromkeys((*named, *subject)))
