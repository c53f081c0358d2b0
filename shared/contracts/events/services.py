"""Facts about services: what they are, where they stand, who holds which role for them."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.events.model import EventData


class ServiceKind(StrEnum):
    """What sort of thing is registered."""

    USER_FACING_SERVICE = "user-facing-service"
    COMPONENT = "component"
    END_USER_COMPUTE = "end-user-compute"
    NETWORK = "network"
    HOSTING = "hosting"
    DATA_SET = "data-set"
    API = "api"


class Phase(StrEnum):
    """Where a service stands in its life; not known is null."""

    DISCOVERY = "discovery"
    ALPHA = "alpha"
    BETA = "beta"
    LIVE = "live"
    RETIRING = "retiring"
    RETIRED = "retired"


class Visibility(StrEnum):
    """Who may see a service where the deployment lets people read without a key."""

    PUBLIC = "public"
    INTERNAL = "internal"


class Role(StrEnum):
    """What somebody can be for a service; at most one holder each at any effective time."""

    OWNING_TEAM = "owning-team"
    ACCOUNTABLE_OWNER = "accountable-owner"
    PRODUCT_MANAGER = "product-manager"
    DELIVERY_MANAGER = "delivery-manager"
    TECHNICAL_LEAD = "technical-lead"
    CONTRACT_MANAGER = "contract-manager"


class SourceAttributes(BaseModel):
    """Fields that the model does not name, kept as their source names them."""

    model_config = ConfigDict(frozen=True)

    source: str
    set: dict[str, Any] = Field(default_factory=dict)
    unset: tuple[str, ...] = ()


class ServiceRegistered(EventData):
    """A service became known."""

    TYPE: ClassVar[str] = "estate.service.registered.v1"

    name: str
    kind: ServiceKind
    slug: str
    organisation: str | None = None
    registrant: str | None = Field(
        default=None,
        description="The organisation that registered it, its keeper while it has none.",
    )
    phase: Phase | None = None
    visibility: Visibility = Visibility.INTERNAL
    description: str | None = None
    aliases: tuple[str, ...] = ()
    attributes: SourceAttributes | None = None


class ServiceDetailsChanged(EventData):
    """Name, kind, description or a source's attributes changed; what is not given stays."""

    TYPE: ClassVar[str] = "estate.service.details_changed.v1"

    name: str | None = None
    kind: ServiceKind | None = None
    description: str | None = None
    attributes: SourceAttributes | None = None


class ServiceMoved(EventData):
    """A service belongs to another organisation."""

    TYPE: ClassVar[str] = "estate.service.moved.v1"

    organisation: str
    from_organisation: str | None = None


class ServicePhaseChanged(EventData):
    """A service stands in another phase; null: it is not known in which."""

    TYPE: ClassVar[str] = "estate.service.phase_changed.v1"

    phase: Phase | None


class ServiceDelisted(EventData):
    """Its source no longer lists the service, which is not the same as retired."""

    TYPE: ClassVar[str] = "estate.service.delisted.v1"


class ServiceReinstated(EventData):
    """Its source lists the service again, under the same id."""

    TYPE: ClassVar[str] = "estate.service.reinstated.v1"


class ServiceRetired(EventData):
    """A service has ended, perhaps for a successor."""

    TYPE: ClassVar[str] = "estate.service.retired.v1"

    successor: str | None = None


class ServiceAliasAdded(EventData):
    """A source knows the service by one more name; an alias is never taken back."""

    TYPE: ClassVar[str] = "estate.service.alias_added.v1"

    alias: str


class ServiceVisibilitySet(EventData):
    """Who may see a service changed."""

    TYPE: ClassVar[str] = "estate.service.visibility_set.v2"

    visibility: Visibility


class RoleAssigned(EventData):
    """Somebody holds a role from now on; names who held it before."""

    TYPE: ClassVar[str] = "estate.service.role_assigned.v1"

    role: Role
    holder: str
    previous_holder: str | None


class RoleVacated(EventData):
    """Nobody holds the role from now on."""

    TYPE: ClassVar[str] = "estate.service.role_vacated.v1"

    role: Role
    holder: str


EVENTS = (
    ServiceRegistered,
    ServiceDetailsChanged,
    ServiceMoved,
    ServicePhaseChanged,
    ServiceDelisted,
    ServiceReinstated,
    ServiceRetired,
    ServiceAliasAdded,
    ServiceVisibilitySet,
    RoleAssigned,
    RoleVacated,
)
