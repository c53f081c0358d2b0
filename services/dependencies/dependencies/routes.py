"""Owns the table of commands on dependencies: name, address, body, rule, example."""

from typing import Any

from services.dependencies.dependencies import commands, decider
from shared.commands.command import CommandType
from shared.contracts.events import dependencies as facts

_TAG = "Dependencies"

COMMANDS: tuple[CommandType[Any], ...] = (
    CommandType(
        name="estate.dependency.declare.v1",
        path="/v1/dependencies",
        body=commands.DeclareDependency,
        decide=decider.declare,
        leads_to=facts.DependencyDeclared.TYPE,
        summary="Declare that a service depends on another, or on a named external thing",
        tag=_TAG,
        example={
            "from": "govuk-repos:whitehall",
            "to": {"service": "govuk-repos:publishing-api"},
            "kind": "uses-api",
            "criticality": "high",
        },
    ),
    CommandType(
        name="estate.dependency.change.v1",
        path="/v1/dependencies/{dependency}/change",
        body=commands.ChangeDependency,
        decide=decider.change,
        leads_to=facts.DependencyChanged.TYPE,
        summary="Change kind or criticality of a dependency",
        tag=_TAG,
        example={"criticality": "critical", "reason": "no fallback since March"},
    ),
    CommandType(
        name="estate.dependency.withdraw.v1",
        path="/v1/dependencies/{dependency}/withdraw",
        body=commands.WithdrawDependency,
        decide=decider.withdraw,
        leads_to=facts.DependencyWithdrawn.TYPE,
        summary="Withdraw a dependency",
        tag=_TAG,
        example={"reason": "moved to the publishing API"},
    ),
)
