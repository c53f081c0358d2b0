"""Owns what a command is: its name, its body, its rule, where HTTP serves it.

Must not know any particular command.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.auth.principals import Principal, Role
from shared.commands.refusals import NotYoursError, StaleVersionError
from shared.contracts.names import is_alias, is_id, is_reserved, is_slug
from shared.eventstore.types import Category, Decision, Loaded, View
from shared.http.strict_json import has_bidi_controls

COMMANDERS = frozenset({Role.EMITTER, Role.ADMIN})
"""Who may change the estate: an emitter for its organisation, an administrator for all."""


def _reference(text: str) -> str:
    if is_alias(text) or is_slug(text) or is_id(text, text[:3]):
        return text
    raise ValueError("is neither an id, a slug nor an alias such as source:name")


def _alias(text: str) -> str:
    if not is_alias(text):
        raise ValueError("is no alias such as source:name")
    return text


def _slug(text: str) -> str:
    if not is_slug(text):
        raise ValueError("may hold a-z, 0-9 and single hyphens between them, 100 at most")
    if is_reserved(text):
        raise ValueError("is a word of our filters; choose another slug")
    return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable() or has_bidi_controls(text):
        raise ValueError("must be one line of printable text")
    return text


Reference = Annotated[str, Field(max_length=265), AfterValidator(_reference)]
"""An id, a slug or an alias."""
Alias = Annotated[str, Field(max_length=265), AfterValidator(_alias)]
Slug = Annotated[str, Field(max_length=100), AfterValidator(_slug)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Text = Annotated[str, Field(min_length=1, max_length=5_000)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class CommandBody(BaseModel):
    """What every command takes; strict, and nothing that it does not name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    reason: Reason | None = Field(default=None, description="Why, in your own words.")


C = TypeVar("C", bound=CommandBody)


@dataclass(frozen=True, slots=True)
class Context:
    """Who commands, when it is, when the fact is true from, and what was handed in.

    `new_id` becomes the id of what the command creates, if it creates something; deciders put the
    kind's prefix before it. `expected_version` is what If-Match names.
    """

    principal: Principal
    now: datetime
    effective_at: datetime
    new_id: str
    expected_version: int | None = None

    @property
    def may_act_for_all(self) -> bool:
        """Whether the principal is not bound to one organisation."""
        return Role.ADMIN in self.principal.roles

    def require_keeper(self, keeper: str | None, what: str) -> None:
        """Refuse an emitter that acts on what another organisation keeps.

        Raises: NotYoursError.
        """
        if self.may_act_for_all:
            return
        if keeper is None or keeper != self.principal.organisation:
            raise NotYoursError(f"{what} is not kept by the organisation of this credential")

    def require_version(self, loaded: Loaded[Any]) -> None:
        """Refuse when If-Match names another version than the newest.

        Raises: StaleVersionError.
        """
        if self.expected_version is not None and self.expected_version != loaded.version:
            raise StaleVersionError(f"it is at version {loaded.version}")


Decider = Callable[[C, str | None, Context, View], Decision]
"""(command, target reference, context, view) -> decision; pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandType(Generic[C]):
    """One command: over HTTP a POST to `path`, as a submission an event of type `name`.

    `path` names its target in braces, or nothing when the command creates something. `leads_to` is
    the type of the event that it becomes.
    """

    name: str
    path: str
    body: type[C]
    decide: Decider[C]
    leads_to: str
    summary: str
    tag: str
    allow: frozenset[Role] = COMMANDERS
    example: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def creates(self) -> bool:
        """Whether the command makes something new."""
        return "{" not in self.path


def resolve(view: View, category: Category[Any], prefix: str, reference: str) -> str | None:
    """Find the id behind an id, slug or alias; None when nothing answers to it.

    Slugs and aliases are claims of the kind `<category>.slug` and `<category>.alias`.
    """
    if is_id(reference, prefix):
        return reference if view.load(category, reference).version else None
    kind = "alias" if ":" in reference else "slug"
    stream = view.claimed(f"{category.kind}.{kind}", reference)
    return None if stream is None else stream.removeprefix(f"{category.kind}-")
