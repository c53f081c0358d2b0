"""Owns the rules of services and of who holds which role. Pure: no clock, no ids, no IO."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.registry.organisations.decider import (
    ORGANISATION,
    aliases_in,
    free_slug,
    new_names,
    require_organisation,
)
from services.registry.services.commands import (
    AddAlias,
    AssignRole,
    Attributes,
    ChangeDetails,
    ChangePhase,
    DelistService,
    MoveService,
    RegisterService,
    ReinstateService,
    RetireService,
    SetVisibility,
    VacateRole,
)
from shared.clock import format_instant
from shared.commands.command import CommandBody, Context, resolve
from shared.commands.history import History, category_of_facts
from shared.commands.refusals import NotFoundError, NotKnownAtError, Refusal
from shared.contracts.canonical import canonical_bytes
from shared.contracts.events.model import EventData
from shared.contracts.events.organisations import OrganisationKind
from shared.contracts.events.services import (
    Phase,
    RoleAssigned,
    RoleVacated,
    ServiceAliasAdded,
    ServiceDelisted,
    ServiceDetailsChanged,
    ServiceMoved,
    ServicePhaseChanged,
    ServiceRegistered,
    ServiceReinstated,
    ServiceRetired,
    ServiceVisibilitySet,
    SourceAttributes,
)
from shared.contracts.facts.services import service_facts
from shared.contracts.names import CONTACT_PATTERN
from shared.eventstore.types import Claim, Decision, NewEvent, View

PREFIX = "svc"


class ServiceAlreadyRegisteredError(
    Refusal,
    slug="service-already-registered",
    title="A service is registered under this name already",
    advice="Change the registered service, or choose another slug or alias.",
):
    """A slug or alias belongs to a service."""


class ServiceAlreadyRetiredError(
    Refusal,
    slug="service-already-retired",
    title="The service is retired already, with another successor",
    advice="Name the successor that its history shows, or change its phase back before it retires "
    "again.",
):
    """Of a service that retired, the successor is not changed in passing."""


class HolderDiffersError(
    Refusal,
    slug="holder-differs",
    title="Somebody else holds the role at that time",
    advice="Read who holds the role at the effective time and name that holder.",
):
    """A hand-over names the holder before, so that two people cannot overlook each other."""


class LaterHandOverError(
    Refusal,
    slug="later-hand-over",
    title="The role changes hands later, from somebody else",
    advice="Choose an effective time behind the later hand-over.",
):
    """A hand-over in the past would contradict one that is already recorded."""


class TeamKeepsNoServiceError(
    Refusal,
    slug="team-keeps-no-service",
    title="A team holds roles, but keeps no service",
    advice="Let the organisation above the team keep the service, and let the team be its "
    "owning-team.",
):
    """A team sends nothing for itself, so nobody could change what it kept."""


SERVICE = category_of_facts("service", service_facts)


@dataclass(frozen=True, slots=True)
class _Target:
    """A registered service that the caller may change, at the effective time."""

    subject: str
    version: int
    history: History
    context: Context

    def now(self, attribute: str) -> Any:
        """The value in force at the effective time."""
        return self.history.at(attribute, self.context.effective_at)

    def unchanged(self) -> Decision:
        """The command is already true."""
        return Decision(self.subject, answer={"version": self.version})

    def decided(self, data: EventData, *claims: Claim) -> Decision:
        """The command becomes one fact."""
        event = NewEvent(self.subject, data, self.context.effective_at, claims)
        return Decision(self.subject, (event,))


def _target(view: View, reference: str | None, context: Context) -> _Target:
    subject = resolve(view, SERVICE, PREFIX, reference or "")
    if subject is None:
        raise NotFoundError("no service answers to this reference")
    loaded = view.load(SERVICE, subject)
    history = loaded.state
    context.require_keeper(_keeper(history, context), "the service")
    context.require_version(loaded)
    target = _Target(subject, loaded.version, history, context)
    if target.now("name") is None:
        raise NotKnownAtError("the service was not registered at that time", "/effective_from")
    return target


def _keeper(history: History, context: Context) -> Any:
    """Who keeps the service now; of one that begins later, who will when it begins."""
    instant = max(context.now, history.since("name") or context.now)
    return history.at("organisation", instant) or history.at("registrant", instant)


def register(
    command: RegisterService, target: str | None, context: Context, view: View
) -> Decision:
    """Register a service under a free slug and free aliases.

    An emitter registers for its own organisation only.
    """
    organisation = _organisation(command, context, view)
    slug = command.slug or free_slug(view, SERVICE.kind, command.name)
    names = new_names(SERVICE.kind, slug, command.aliases, target)
    for name, pointer in names.items():
        if view.claimed(name.kind, name.value) is not None:
            raise ServiceAlreadyRegisteredError("the name is taken", pointer)
    subject = f"{PREFIX}_{context.new_id}"
    event = ServiceRegistered(
        name=command.name,
        kind=command.kind,
        slug=slug,
        organisation=organisation,
        registrant=context.principal.organisation,
        phase=command.phase,
        visibility=command.visibility,
        description=command.description,
        aliases=aliases_in(names),
        attributes=_logged(command.attributes),
        reason=command.reason,
    )
    made = NewEvent(subject, event, context.effective_at, tuple(names))
    return Decision(subject, (made,), {"slug": slug})


def _organisation(command: RegisterService, context: Context, view: View) -> str | None:
    if command.organisation is None:
        return context.principal.organisation
    organisation = _new_keeper(view, context, command.organisation)
    context.require_keeper(organisation, "the organisation")
    return organisation


def _new_keeper(view: View, context: Context, reference: str) -> str:
    """The organisation that is to keep a service; no team, since none submits for itself."""
    organisation = require_organisation(view, context, reference, "/organisation")
    history = view.load(ORGANISATION, organisation).state
    if history.at("kind", context.effective_at) == OrganisationKind.TEAM:
        raise TeamKeepsNoServiceError("the organisation is a team", "/organisation")
    return organisation


def _logged(attributes: Attributes | None) -> SourceAttributes | None:
    if attributes is None:
        return None
    return SourceAttributes.model_validate(attributes.model_dump())


def change_details(
    command: ChangeDetails, target: str | None, context: Context, view: View
) -> Decision:
    """Change name, kind, description or a source's attributes; what already holds is left out."""
    service = _target(view, target, context)
    given = command.model_fields_set & {"name", "kind", "description"}
    changes = {
        member: getattr(command, member)
        for member in given
        if service.now(member) != getattr(command, member)
    }
    attributes = _changed_attributes(command.attributes, service)
    if not changes and attributes is None:
        return service.unchanged()
    if attributes is not None:
        changes["attributes"] = attributes
    return service.decided(ServiceDetailsChanged(**changes, reason=command.reason))


def _changed_attributes(attributes: Attributes | None, service: _Target) -> SourceAttributes | None:
    if attributes is None:
        return None

    def held(name: str) -> Any:
        return service.now(f"source:{attributes.source}:{name}")

    def differs(name: str, value: Any) -> bool:
        """As JSON: in Python true equals 1."""
        return canonical_bytes(held(name)) != canonical_bytes(value)

    changed = {name: value for name, value in attributes.set.items() if differs(name, value)}
    gone = tuple(name for name in attributes.unset if held(name) is not None)
    if not changed and not gone:
        return None
    return SourceAttributes(source=attributes.source, set=changed, unset=gone)


def move(command: MoveService, target: str | None, context: Context, view: View) -> Decision:
    """Let another organisation keep the service from the effective time on."""
    service = _target(view, target, context)
    organisation = _new_keeper(view, context, command.organisation)
    before = service.now("organisation")
    if before == organisation:
        return service.unchanged()
    return service.decided(
        ServiceMoved(organisation=organisation, from_organisation=before, reason=command.reason)
    )


def change_phase(
    command: ChangePhase, target: str | None, context: Context, view: View
) -> Decision:
    """Put the service into a phase from the effective time on."""
    service = _target(view, target, context)
    if service.now("phase") == command.phase:
        return service.unchanged()
    return service.decided(ServicePhaseChanged(phase=command.phase, reason=command.reason))


def delist(command: DelistService, target: str | None, context: Context, view: View) -> Decision:
    """Record that the source no longer lists the service."""
    return _set_listed(command, _target(view, target, context), listed=False)


def reinstate(
    command: ReinstateService, target: str | None, context: Context, view: View
) -> Decision:
    """Record that the source lists the service again."""
    return _set_listed(command, _target(view, target, context), listed=True)


def _set_listed(command: CommandBody, service: _Target, *, listed: bool) -> Decision:
    if service.now("listed") is listed:
        return service.unchanged()
    fact = ServiceReinstated if listed else ServiceDelisted
    return service.decided(fact(reason=command.reason))


def retire(command: RetireService, target: str | None, context: Context, view: View) -> Decision:
    """End the service; again with the same successor changes nothing, or lets it end earlier.

    Another successor than that of the retirement before or behind the effective time is refused,
    unless the service lived in between.
    """
    service = _target(view, target, context)
    successor = None
    if command.successor is not None:
        successor = resolve(view, SERVICE, PREFIX, command.successor)
        if successor is None or successor == service.subject:
            raise NotFoundError("no other service answers to this reference", "/successor")
    is_retired = service.now("phase") == Phase.RETIRED
    known = context.effective_at if is_retired else _next_retirement(service)
    if known is not None and (before := service.history.at("successor", known)) != successor:
        when = "then" if is_retired else f"from {format_instant(known)} on"
        raise ServiceAlreadyRetiredError(f"it is retired {when}; successor: {before or 'none'}")
    if is_retired:
        return service.unchanged()
    return service.decided(ServiceRetired(successor=successor, reason=command.reason))


def _next_retirement(service: _Target) -> datetime | None:
    """When the service retires behind the effective time, without living in between."""
    for entry in service.history.after("phase", service.context.effective_at):
        if entry.value == Phase.RETIRED:
            return entry.effective_at
        if entry.value != Phase.RETIRING:
            return None
    return None


def add_alias(command: AddAlias, target: str | None, context: Context, view: View) -> Decision:
    """Let the service answer to one more alias; an alias is never taken back."""
    service = _target(view, target, context)
    holder = view.claimed(f"{SERVICE.kind}.alias", command.alias)
    if holder == SERVICE.stream(service.subject):
        return service.unchanged()
    if holder is not None:
        raise ServiceAlreadyRegisteredError("the alias is taken", "/alias")
    event = ServiceAliasAdded(alias=command.alias, reason=command.reason)
    return service.decided(event, Claim(f"{SERVICE.kind}.alias", command.alias))


def set_visibility(
    command: SetVisibility, target: str | None, context: Context, view: View
) -> Decision:
    """Say who may see the service from the effective time on."""
    service = _target(view, target, context)
    if service.now("visibility") == command.visibility:
        return service.unchanged()
    return service.decided(
        ServiceVisibilitySet(visibility=command.visibility, reason=command.reason)
    )


def assign_role(command: AssignRole, target: str | None, context: Context, view: View) -> Decision:
    """Let somebody hold a role from the effective time on, in place of the named holder.

    A hand-over that has taken place changes nothing; one from somebody else than who held the role
    before is refused even then, since its sender overlooked a hand-over.
    """
    service = _target(view, target, context)
    holder = _holder(view, context, command.holder, "/holder")
    previous = None
    if command.previous_holder is not None:
        previous = _holder(view, context, command.previous_holder, "/previous_holder")
    attribute = f"role:{command.role.value}"
    took_over_from = service.history.before(attribute, context.effective_at)
    if service.now(attribute) == holder and previous in {holder, took_over_from, None}:
        return service.unchanged()
    _require_hand_over(service, attribute, previous, holder, "/previous_holder")
    return service.decided(
        RoleAssigned(
            role=command.role, holder=holder, previous_holder=previous, reason=command.reason
        )
    )


def vacate_role(command: VacateRole, target: str | None, context: Context, view: View) -> Decision:
    """Let nobody hold a role from the effective time on; the holder is named."""
    service = _target(view, target, context)
    holder = _holder(view, context, command.holder, "/holder")
    attribute = f"role:{command.role.value}"
    if service.now(attribute) is None:
        return service.unchanged()
    _require_hand_over(service, attribute, holder, None, "/holder")
    return service.decided(RoleVacated(role=command.role, holder=holder, reason=command.reason))


def _require_hand_over(
    service: _Target, attribute: str, previous: str | None, holder: str | None, pointer: str
) -> None:
    """Check the hand-over against the whole effective timeline of the role."""
    held_by = service.now(attribute)
    if held_by != previous:
        held = "nobody" if held_by is None else held_by
        raise HolderDiffersError(f"the role is held by {held} at that time", pointer)
    if service.history.after(attribute, service.context.effective_at) and holder != previous:
        raise LaterHandOverError("a later hand-over of this role names its holder before")


def _holder(view: View, context: Context, reference: str, pointer: str) -> str:
    if CONTACT_PATTERN.fullmatch(reference):
        return reference
    return require_organisation(view, context, reference, pointer)
