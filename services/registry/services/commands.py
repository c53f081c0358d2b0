"""Owns what may be asked of a service."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from shared.commands.command import Alias, CommandBody, Line, Reference, Slug, Text
from shared.contracts.canonical import NotCanonicalError, check_canonical
from shared.contracts.events.services import Phase, Role, ServiceKind, Visibility
from shared.contracts.names import CONTACT_PATTERN, is_alias, is_id, is_slug


def _holder(text: str) -> str:
    is_contact = CONTACT_PATTERN.fullmatch(text) is not None
    if is_contact or is_id(text, "org") or is_slug(text) or is_alias(text):
        return text
    raise ValueError("is neither an organisation's reference nor contact:<opaque id>")


def _canonical(value: Any) -> Any:
    try:
        check_canonical(value)
    except NotCanonicalError as error:
        raise ValueError(error.detail) from error
    return value


Holder = Annotated[str, Field(max_length=265), AfterValidator(_holder)]
"""An organisation's reference, or `contact:<opaque id>`; never a person's name."""
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
AttributeValue = Annotated[Any, AfterValidator(_canonical)]
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
MAX_ATTRIBUTES = 100


class Attributes(BaseModel):
    """Fields that the model does not name, as their source names them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    source: SourceName
    set: dict[AttributeName, AttributeValue] = Field(
        default_factory=dict, max_length=MAX_ATTRIBUTES
    )
    unset: tuple[AttributeName, ...] = Field(default=(), max_length=MAX_ATTRIBUTES, strict=False)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if set(self.unset) & set(self.set):
            raise ValueError("an attribute is both set and unset")
        return self


class RegisterService(CommandBody):
    """Make a service known."""

    name: Line
    kind: ServiceKind = Field(strict=False)
    organisation: Reference | None = Field(
        default=None, description="An emitter's own organisation when not given."
    )
    slug: Slug | None = Field(default=None, description="Derived from the name when not given.")
    phase: Phase | None = Field(default=None, strict=False)
    visibility: Visibility = Field(default=Visibility.INTERNAL, strict=False)
    description: Text | None = None
    aliases: tuple[Alias, ...] = Field(default=(), max_length=20, strict=False)
    attributes: Attributes | None = None


class ChangeDetails(CommandBody):
    """Change what is given; null takes a description away; what is not given stays."""

    name: Line | None = None
    kind: ServiceKind | None = Field(default=None, strict=False)
    description: Text | None = None
    attributes: Attributes | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"reason"}:
            raise ValueError("names nothing to change")
        for member in ("name", "kind"):
            if member in self.model_fields_set and getattr(self, member) is None:
                raise ValueError(f"{member} cannot be taken away")
        return self


class MoveService(CommandBody):
    """Let another organisation keep the service."""

    organisation: Reference


class ChangePhase(CommandBody):
    """Say in which phase the service stands; null: it is not known."""

    phase: Phase | None = Field(strict=False)


class DelistService(CommandBody):
    """Say that its source no longer lists the service."""


class ReinstateService(CommandBody):
    """Say that its source lists the service again."""


class RetireService(CommandBody):
    """End the service, perhaps for a successor."""

    successor: Reference | None = None


class AddAlias(CommandBody):
    """Let the service answer to one more name of a source."""

    alias: Alias


class SetVisibility(CommandBody):
    """Say who may see the service."""

    visibility: Visibility = Field(strict=False)


class AssignRole(CommandBody):
    """Let somebody hold a role, naming who held it before (null: nobody)."""

    role: Role = Field(strict=False)
    holder: Holder
    previous_holder: Holder | None


class VacateRole(CommandBody):
    """Let nobody hold a role, naming who holds it."""

    role: Role = Field(strict=False)
    holder: Holder
