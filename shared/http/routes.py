"""Owns what a route is: its address, who may call it, what it takes and answers.

Must not read a request; the endpoint does.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Generic, Protocol
from urllib.parse import unquote_to_bytes

from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypeVar

from shared.auth.principals import Principal, Role
from shared.http.problems import problem_kind

JSON = "application/json"
DEFAULT_MAX_BODY_BYTES = 64 * 1024
DEFAULT_MAX_DEPTH = 32

ID_SLUG_OR_ALIAS = (
    r"[a-z]{3}_[0-9a-f]{32}|[a-z0-9-]{1,100}|[a-z0-9-]{1,64}:[^\x00-\x1f\x7f-\x9f]{1,200}"
)
"""What a path parameter may be unless the route says otherwise; anything else is not found."""

PATH_PATTERNS: Mapping[str, str] = {
    "position": r"[1-9][0-9]{0,17}",
    "slug": r"[a-z0-9-]{1,100}",
}

_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

BodyT = TypeVar("BodyT", default=Any)
QueryT = TypeVar("QueryT", default=Any)


class Access(Enum):
    """Rules that name no role."""

    ANYONE = "anyone"
    AUTHENTICATED = "authenticated"
    PUBLIC_OR_AUTHENTICATED = "public-or-authenticated"


ANYONE = Access.ANYONE
AUTHENTICATED = Access.AUTHENTICATED
PUBLIC_OR_AUTHENTICATED = Access.PUBLIC_OR_AUTHENTICATED


class Authenticator(Protocol):
    """Proves who is calling."""

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal | None:
        """The caller, or None when no credential was presented. Raises: Problem."""
        ...


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT, QueryT]):
    """One request that passed every check, as a handler sees it.

    `body` and `query` are instances of the models of the route, None where it has none. `json` is
    the tree that the body was read as, `raw_body` its bytes. `if_match` is the version in the ETag.
    """

    request: web.Request
    principal: Principal | None
    body: BodyT
    query: QueryT
    path: Mapping[str, str]
    correlation_id: str
    raw_body: bytes = b""
    json: Any = None
    idempotency_key: str | None = None
    if_match: int | None = None

    @property
    def caller(self) -> Principal:
        """The principal of a route that always has one. Raises: LookupError where it need not."""
        if self.principal is None:
            raise LookupError("this route may be called without a credential")
        return self.principal


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. A body that is not bytes is written as JSON; None sends no body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the documentation: what it means, its model, an example, its media type.

    The model is that of JSON; with another media type, JSON is what can be asked for instead.
    """

    description: str
    model: type[BaseModel] | TypeAdapter[Any] | None = None
    example: Any = None
    content_type: str = JSON


Handler = Callable[[Call[Any, Any]], Awaitable[Reply | web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. `allow` has no default: who may call is always said.

    `authenticate=False` is for the system's own pages: credentials are not even looked at.
    `public` answers callers without a credential, who never reach `handler`: a route that does not
    have one is closed to them.
    `body_required=False` reads an empty body as `{}`. A streaming route (`stream`) is not served to
    HEAD. `examples` are request bodies by name.
    """

    method: str
    path: str
    handler: Handler
    allow: frozenset[Role] | Access
    operation_id: str
    summary: str
    description: str = ""
    tag: str = "General"
    body: type[BaseModel] | TypeAdapter[Any] | None = None
    body_required: bool = True
    query: type[BaseModel] | None = None
    answers: Mapping[int, Answer | type[BaseModel]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_body_depth: int = DEFAULT_MAX_DEPTH
    media_types: tuple[str, ...] = (JSON,)
    path_patterns: Mapping[str, str] = field(default_factory=dict)
    requires_idempotency_key: bool = False
    takes_if_match: bool = False
    authenticate: bool = True
    stream: bool = False
    public: Handler | None = None

    def __post_init__(self) -> None:
        _check_rule(self)
        if self.method not in _METHODS or not self.path.startswith("/"):
            raise ValueError(f"{self.method} {self.path} is not a route")
        for model in (self.body, self.query):
            _check_model(self, model)
        for slug in self.problems:
            problem_kind(slug)

    def closed(self) -> "Route":
        """The route as it is where nothing may be read without a key."""
        return self if self.public is None else replace(self, allow=AUTHENTICATED, public=None)

    @property
    def is_command(self) -> bool:
        """Whether the route takes a body and may change something."""
        return self.method != "GET"

    def parameter_names(self) -> tuple[str, ...]:
        """The names of the path parameters, in order."""
        return tuple(_PARAMETER.findall(self.path))

    def parameter_pattern(self, name: str) -> str:
        """What the parameter must match, whole and decoded."""
        return self.path_patterns.get(name) or PATH_PATTERNS.get(name, ID_SLUG_OR_ALIAS)


def _check_rule(route: Route) -> None:
    rule = route.allow
    named = isinstance(rule, frozenset) and rule and all(isinstance(role, Role) for role in rule)
    if not named and not isinstance(rule, Access):
        raise TypeError(f"{route.method} {route.path} does not say who may call it")
    if (rule is PUBLIC_OR_AUTHENTICATED) != (route.public is not None) or (
        route.public is not None and route.is_command
    ):
        raise TypeError(f"{route.method} {route.path} does not say what the public may read")
    if not route.authenticate and rule is not ANYONE:
        raise TypeError(
            f"{route.method} {route.path} cannot check a caller it does not authenticate"
        )


def _check_model(route: Route, model: type[BaseModel] | TypeAdapter[Any] | None) -> None:
    if isinstance(model, type) and model.model_config.get("extra") != "forbid":
        raise TypeError(f"{route.operation_id}: {model.__name__} must forbid unknown members")


class PathReader:
    """Reads parameters from the path as sent, so that no encoding hides a slash or a literal."""

    def __init__(self, route: Route) -> None:
        parts = _PARAMETER.split(route.path)
        pattern = "".join(
            f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
        self._static = route.path if len(parts) == 1 else None
        self._whole = re.compile(pattern)
        self._parameters = {
            name: re.compile(route.parameter_pattern(name)) for name in route.parameter_names()
        }

    def read(self, raw_path: str) -> dict[str, str] | None:
        """The decoded parameters, or None when the path is not exactly one of this route."""
        if self._static is not None:
            return {} if raw_path == self._static else None
        match = self._whole.fullmatch(raw_path)
        if match is None:
            return None
        values: dict[str, str] = {}
        for name, pattern in self._parameters.items():
            value = _decoded_segment(match[name])
            if value is None or not pattern.fullmatch(value):
                return None
            values[name] = value
        return values


def _decoded_segment(segment: str) -> str | None:
    if "%" not in segment:
        return segment if segment.isascii() else None
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        return None
