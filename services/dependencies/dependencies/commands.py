"""Owns what may be asked of a dependency."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.commands.command import CommandBody, Line, Reference
from shared.contracts.events.dependencies import Criticality, DependencyKind, ExternalKind


class ServiceReference(BaseModel):
    """A registered service, or one that the registry will come to know."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    service: Reference


class ExternalReference(BaseModel):
    """A named thing outside the registry."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    external: Line
    kind: Annotated[ExternalKind, Field(strict=False)]


class DeclareDependency(CommandBody):
    """Say that a service depends on another, or on a named external thing."""

    from_: Reference = Field(alias="from")
    to: ServiceReference | ExternalReference
    kind: DependencyKind = Field(strict=False)
    criticality: Criticality | None = Field(default=None, strict=False)


class ChangeDependency(CommandBody):
    """Change kind or criticality; what is not given stays."""

    kind: DependencyKind | None = Field(default=None, strict=False)
    criticality: Criticality | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.kind is None and "criticality" not in self.model_fields_set:
            raise ValueError("names nothing to change")
        return self


class WithdrawDependency(CommandBody):
    """Say that the dependency no longer holds."""
