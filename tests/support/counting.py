"""Owns a small kind of stream on which the event store is tested, and commands upon it.

Must not know the estate's rules.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.contracts.envelope import Origin
from shared.contracts.events.services import ServiceAliasAdded
from shared.eventstore.types import (
    Category,
    Claim,
    CommandRefusedError,
    Decision,
    Fact,
    NewEvent,
    PendingCommand,
    View,
)

EFFECTIVE = datetime(2026, 1, 1, tzinfo=UTC)


def _count(state: int, _fact: Fact) -> int:
    return state + 1


COUNTED: Category[int] = Category("service", 0, _count)
OTHER: Category[int] = Category("organisation", 0, _count)
CATEGORIES: Mapping[str, Category[Any]] = {"service": COUNTED, "organisation": OTHER}


def origin(key: str) -> Origin:
    """Somebody's, through HTTP."""
    return Origin("prn_test", "crd_test", "org_test", "http", "correlation", key)


def pending(
    key: str,
    decide: Callable[[View], Decision],
    *,
    request: str = "",
    dry_run: bool = False,
) -> PendingCommand:
    """A command with a request hash of its own, `request` being what was asked."""
    digest = hashlib.sha256(request.encode()).digest()
    return PendingCommand(key, digest, origin(key), decide, dry_run)


def fact(subject: str, *claims: Claim, alias: str = "crm:1", at: datetime = EFFECTIVE) -> NewEvent:
    """One event of a counted stream."""
    return NewEvent(subject, ServiceAliasAdded(alias=alias), at, claims)


def add(
    key: str,
    subject: str = "svc_1",
    *,
    events: int = 1,
    claims: tuple[Claim, ...] = (),
    alias: str = "crm:1",
    request: str = "",
    dry_run: bool = False,
) -> PendingCommand:
    """Add events to a stream; the answer tells how many it held before."""

    def decide(view: View) -> Decision:
        held = view.load(COUNTED, subject).state
        made = [fact(subject, alias=alias) for _ in range(events)]
        if made:
            made[0] = fact(subject, *claims, alias=alias)
        return Decision(subject, tuple(made), {"held": held})

    return pending(key, decide, request=request, dry_run=dry_run)


def refuse(key: str) -> PendingCommand:
    """A command that a rule forbids."""

    def decide(_view: View) -> Decision:
        raise CommandRefusedError("never")

    return pending(key, decide)
