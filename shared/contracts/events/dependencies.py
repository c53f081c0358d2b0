"""Facts about dependencies between services, and on named things outside the estate."""

from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.events.model import EventData


class DependencyKind(StrEnum):
    """What the dependent needs of the other end."""

    USES_API = "uses-api"
    DATA = "data"
    HOSTING = "hosting"
    IDENTITY = "identity"
    NETWORK = "network"
    DELIVERY = "delivery"


class Criticality(StrEnum):
    """How badly the dependent is hurt when the other end is gone."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ExternalKind(StrEnum):
    """What sort of named thing outside the registry an end is."""

    INFRASTRUCTURE = "infrastructure"
    SUPPLIER = "supplier"
    OTHER = "other"


class ServiceEnd(BaseModel):
    """An end that is, or will turn out to be, a registered service: an id, slug or alias."""

    model_config = ConfigDict(frozen=True)

    service: str


class ExternalEnd(BaseModel):
    """An end that is a named thing which the registry is not meant to know."""

    model_config = ConfigDict(frozen=True)

    external: str
    kind: ExternalKind


class DependencyDeclared(EventData):
    """A service depends on another, or on a named external thing."""

    TYPE: ClassVar[str] = "estate.dependency.declared.v1"

    from_: str = Field(alias="from")
    to: ServiceEnd | ExternalEnd
    kind: DependencyKind
    criticality: Criticality | None = None
    alias: str | None = None
    declarant: str | None = Field(
        default=None,
        description="The organisation that declared it, its keeper while `from` is unresolved.",
    )


class DependencyChanged(EventData):
    """Kind or criticality changed; what is not given stays."""

    TYPE: ClassVar[str] = "estate.dependency.changed.v1"

    kind: DependencyKind | None = None
    criticality: Criticality | None = None


class DependencyWithdrawn(EventData):
    """The dependency no longer holds; declared again, it keeps its id."""

    TYPE: ClassVar[str] = "estate.dependency.withdrawn.v1"


EVENTS = (DependencyDeclared, DependencyChanged, DependencyWithdrawn)
