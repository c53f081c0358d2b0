"""Owns what is expected of every operation: who may call it, and how it is called on a target.

Must not read the rule from the routes: it is said here a second time, and compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from typing import Any, Final

from docs.described import services
from shared.auth.principals import Role
from shared.commands.command import CommandType
from shared.http.routes import ANYONE, AUTHENTICATED, PUBLIC_OR_AUTHENTICATED, Access, Route
from tests.attacks.attacked_estate import ORGANISATIONS, STRANGERS, AttackedEstate


class Rule(Enum):
    """Who may call an operation."""

    PAGE = "anybody, whatever is presented"
    READ = "every key"
    PUBLIC = "every key; without one, of public services alone"
    KEEPER = "an emitter, of what its organisation keeps; an administrator, of anything"
    ADMINISTRATOR = "an administrator; emitters are refused by the rule of the command"
    SUBMIT = "an emitter, for its organisation"


ALLOW: Final[Mapping[Rule, frozenset[Role] | Access]] = {
    Rule.PAGE: ANYONE,
    Rule.READ: AUTHENTICATED,
    Rule.PUBLIC: PUBLIC_OR_AUTHENTICATED,
    Rule.KEEPER: frozenset({Role.EMITTER, Role.ADMIN}),
    Rule.ADMINISTRATOR: frozenset({Role.EMITTER, Role.ADMIN}),
    Rule.SUBMIT: frozenset({Role.EMITTER}),
}
"""What the route must say; keepers are told apart behind it, under the gate of the log."""

PAGES: Final = (
    *("livez", "readyz", "metrics", "openapi", "docs", "docs_style", "problems", "problem"),
)
_LOG_SERVICE: Final = ("get_summary", "get_log")
READS: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": (
        *_LOG_SERVICE,
        *("list_owners", "get_gaps", "list_organisations", "get_organisation"),
    ),
    "dependencies": (*_LOG_SERVICE, "list_unresolved"),
    "notifications": ("list_changes", "stream_changes"),
}
PUBLIC: Final[Mapping[str, Mapping[str, int]]] = {
    "registry": {"list_services": 200, "get_service": 404, "get_service_history": 404},
    "dependencies": {
        "list_dependencies": 200,
        "get_dependency": 404,
        "get_upstream": 404,
        "get_downstream": 404,
    },
    "notifications": {},
}
"""What is answered without a key about something internal, where the public may read."""
_SERVICES: Final = services()
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Target:
    """Something that an organisation keeps: one of each kind."""

    keeper: str
    organisation: str
    other: str
    service: str
    positions: str
    dependency: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One command: about what, and with which members."""

    reference: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CommandCase:
    """How a command is tried on a target."""

    operation: str
    attempt: Callable[[Target], Attempt]
    rule: Rule = Rule.KEEPER
    variant: str = ""

    @property
    def name(self) -> str:
        """How a test is named."""
        return f"{self.operation}-{self.variant}" if self.variant else self.operation


def _name(what: str) -> str:
    return f"{what} {next(_numbers)}"


def _on_service(**body: Any) -> Callable[[Target], Attempt]:
    return lambda target: Attempt(target.service, body)


def _on_dependency(**body: Any) -> Callable[[Target], Attempt]:
    return lambda target: Attempt(target.dependency, body)


def _holding(team: str) -> dict[str, Any]:
    return {"role": "product-manager", "holder": team, "previous_holder": None}


COMMANDS: Final = (
    CommandCase(
        "organisation_register",
        lambda t: Attempt(None, {"name": _name("Team"), "kind": "team", "parent": t.organisation}),
    ),
    CommandCase(
        "organisation_register",
        lambda t: Attempt(
            None, {"name": _name("Agency"), "kind": "agency", "parent": t.organisation}
        ),
        Rule.ADMINISTRATOR,
        "no-team",
    ),
    CommandCase(
        "organisation_register",
        lambda _: Attempt(None, {"name": _name("Team"), "kind": "team"}),
        Rule.ADMINISTRATOR,
        "team-of-nobody",
    ),
    CommandCase(
        "organisation_rename", lambda t: Attempt(t.organisation, {"name": _name("Renamed")})
    ),
    CommandCase(
        "service_register",
        lambda t: Attempt(
            None, {"name": _name("Service"), "kind": "component", "organisation": t.organisation}
        ),
    ),
    CommandCase("service_change_details", _on_service(description="Changed")),
    CommandCase("service_move", lambda t: Attempt(t.service, {"organisation": t.other})),
    CommandCase("service_change_phase", _on_service(phase="beta")),
    CommandCase("service_delist", _on_service(reason="gone")),
    CommandCase("service_reinstate", _on_service(reason="back")),
    CommandCase("service_retire", _on_service(successor=None)),
    CommandCase(
        "service_add_alias", lambda t: Attempt(t.service, {"alias": f"matrix:{next(_numbers)}"})
    ),
    CommandCase("service_set_visibility", _on_service(visibility="public")),
    CommandCase("service_assign_role", _on_service(**_holding("contact:c-1"))),
    CommandCase("service_vacate_role", _on_service(role="technical-lead", holder="contact:none")),
    CommandCase(
        "dependency_declare",
        lambda t: Attempt(
            None,
            {
                "from": t.service,
                "to": {"external": _name("Supplier"), "kind": "supplier"},
                "kind": "hosting",
            },
        ),
    ),
    CommandCase("dependency_change", _on_dependency(criticality="low")),
    CommandCase("dependency_withdraw", _on_dependency(reason="gone")),
)

SUBMISSIONS: Final = ("submit", "submission_status")


def rule_of(service: str, operation: str) -> Rule | None:
    """What is expected of an operation; None when nothing is."""
    if operation in PAGES:
        return Rule.PAGE
    if operation in PUBLIC[service]:
        return Rule.PUBLIC
    if operation in READS[service]:
        return Rule.READ
    if operation in SUBMISSIONS:
        return Rule.SUBMIT
    return Rule.KEEPER if any(case.operation == operation for case in COMMANDS) else None


OPERATIONS: Final = [(one.name, route) for one in _SERVICES for route in one.routes]
READABLE: Final = [
    (name, route)
    for name, route in OPERATIONS
    if rule_of(name, route.operation_id) in {Rule.READ, Rule.PUBLIC, Rule.PAGE}
]


def named(value: Any) -> str:
    """How a test is told from others by what it is about."""
    if isinstance(value, Route):
        return f"{value.method}-{value.operation_id}"
    return value.name if isinstance(value, CommandCase) else str(value)


def filled(route: Route, target: Target) -> str:
    """The path of an operation about a target."""
    values = {
        "service": target.service,
        "organisation": target.organisation,
        "dependency": target.dependency,
        "slug": "not-found",
    }
    return route.path.format(**values)


def expected_of_read(service: str, route: Route, caller: str) -> int:
    """The status of a read about something internal."""
    if not route.authenticate or caller not in STRANGERS:
        return 200
    return PUBLIC[service].get(route.operation_id, 401) if caller == "nobody" else 401


def described(operation: str) -> tuple[str, CommandType[Any]]:
    """The service and the type of a command, by the operation of its route."""
    for service in _SERVICES:
        for command in service.commands:
            if command.name.removesuffix(".v1").split(".", 1)[1].replace(".", "_") == operation:
                return service.name, command
    raise LookupError(operation)


def expected_of_command(case: CommandCase, caller: str, keeper: str) -> str:
    """`accepted`, or the kind of problem, for an HTTP command."""
    if caller in STRANGERS:
        return "unauthenticated"
    if caller == "admin" or (caller == keeper and case.rule is Rule.KEEPER):
        return "accepted"
    return "not-yours" if caller in ORGANISATIONS else "forbidden"


def expected_of_submission(case: CommandCase, caller: str, keeper: str) -> str:
    """As for an HTTP command, but an administrator acts for no organisation."""
    return "forbidden" if caller == "admin" else expected_of_command(case, caller, keeper)


def submission(case: CommandCase, attempt: Attempt) -> dict[str, Any]:
    """An attempt as a CloudEvent."""
    _, command = described(case.operation)
    event = {
        "specversion": "1.0",
        "id": f"attempt-{next(_numbers)}",
        "source": "matrix",
        "type": command.name,
        "data": attempt.body,
    }
    return event if attempt.reference is None else {**event, "subject": attempt.reference}


async def make_target(estate: AttackedEstate, keeper: str) -> Target:
    """Something fresh that an organisation keeps; known in every service when this returns."""
    target = await make_service(estate, keeper)
    await is_known(estate, target.service, target.positions)
    edge = {"from": target.service, "to": {"external": "Else", "kind": "other"}, "kind": "network"}
    made = await estate.command("dependencies", "/v1/dependencies", edge)
    await is_reflected(estate, f"/v1/dependencies/{made['id']}", made["positions"])
    return replace(target, dependency=made["id"])


async def make_service(estate: AttackedEstate, keeper: str, **more: str) -> Target:
    """A fresh service that an organisation keeps; known in the registry's log."""
    other = next(estate.ids[name] for name in ORGANISATIONS if name != keeper)
    body = {"name": _name("Target"), "kind": "component", "organisation": estate.ids[keeper]}
    made = await estate.command("registry", "/v1/services", body | more)
    return Target(keeper, estate.ids[keeper], other, made["id"], made["positions"])


async def is_known(estate: AttackedEstate, service: str, positions: str) -> None:
    """Return when the dependencies service knows what the registry says of a service."""
    await is_reflected(estate, f"/v1/services/{service}/upstream", positions)


async def is_reflected(estate: AttackedEstate, path: str, positions: str) -> None:
    """Return when an answer of the dependencies service reflects these positions."""
    query = {"min_position": positions}
    answer = await estate.ask("dependencies", "GET", path, query=query)
    assert answer.status == 200, answer
