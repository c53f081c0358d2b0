"""Owns the rules of organisations. Pure: no clock, no ids, no IO of its own."""

from collections.abc import Iterable
from itertools import count, islice

from services.registry.organisations.commands import RegisterOrganisation, RenameOrganisation
from shared.commands.command import Context, resolve
from shared.commands.history import category_of_facts
from shared.commands.refusals import NotFoundError, NotKnownAtError, Refusal
from shared.contracts.events.organisations import (
    OrganisationKind,
    OrganisationRegistered,
    OrganisationRenamed,
)
from shared.contracts.facts.organisations import organisation_facts
from shared.contracts.names import is_reserved, slugify
from shared.eventstore.types import Claim, Decision, NewEvent, View

PREFIX = "org"


class OrganisationAlreadyRegisteredError(
    Refusal,
    slug="organisation-already-registered",
    title="An organisation is registered under this name already",
    advice="Use the registered organisation, or choose another slug or alias.",
):
    """A slug or alias belongs to an organisation."""


ORGANISATION = category_of_facts("organisation", organisation_facts)


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
    slug = command.slug or free_slug(view, ORGANISATION.kind, command.name)
    names = new_names(ORGANISATION.kind, slug, command.aliases, target)
    for name, pointer in names.items():
        if view.claimed(name.kind, name.value) is not None:
            raise OrganisationAlreadyRegisteredError("the name is taken", pointer)
    subject = f"{PREFIX}_{context.new_id}"
    event = OrganisationRegistered(
        name=command.name,
        kind=command.kind,
        slug=slug,
        parent=parent,
        aliases=aliases_in(names),
        reason=command.reason,
    )
    made = NewEvent(subject, event, context.effective_at, tuple(names))
    return Decision(subject, (made,), {"slug": slug})


def rename(
    command: RenameOrganisation, target: str | None, context: Context, view: View
) -> Decision:
    """Give an organisation another name from the effective time on."""
    subject = require_organisation(view, context, target or "", "/subject")
    loaded = view.load(ORGANISATION, subject)
    instant = max(context.now, loaded.state.since("name") or context.now)
    parent = loaded.state.at("parent", instant)
    team = loaded.state.at("kind", instant) == OrganisationKind.TEAM
    context.require_keeper(parent if team else subject, "the organisation")
    context.require_version(loaded)
    if loaded.state.at("name", context.effective_at) == command.name:
        return Decision(subject, answer={"version": loaded.version})
    event = OrganisationRenamed(name=command.name, reason=command.reason)
    return Decision(subject, (NewEvent(subject, event, context.effective_at),))


def free_slug(view: View, kind: str, name: str) -> str:
    """Derive a slug from a name and number it when it is taken."""
    stem = slugify(name) or kind
    numbered = (f"{stem[:90].rstrip('-')}-{number}" for number in count(2))
    slugs = list(islice(numbered, 1)) if is_reserved(stem) else [stem]
    # Ever more at once, since each question that the log must answer costs a pass of the writer.
    while (slug := view.first_free(f"{kind}.slug", slugs)) is None:
        slugs = list(islice(numbered, 4 * len(slugs)))
    return slug


def new_names(
    kind: str, slug: str, aliases: tuple[str, ...], target: str | None
) -> dict[Claim, str]:
    """The names that a registration takes for ever, each with the member that gave it.

    `target` is the subject of a submission: its emitter's name for what it registers.
    """
    names = {Claim(f"{kind}.slug", slug): "/slug"}
    for index, alias in enumerate(aliases):
        names.setdefault(Claim(f"{kind}.alias", alias), f"/aliases/{index}")
    if target is not None:
        names.setdefault(Claim(f"{kind}.alias", target), "/subject")
    return names


def aliases_in(names: Iterable[Claim]) -> tuple[str, ...]:
    """The aliases among the names of a registration."""
    return tuple(name.value for name in names if name.kind.endswith(".alias"))
