"""Owns the query parameters of the change feed: how each is written, strictly.

Must not look anything up.
"""

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from services.notifications.read_models.change_filter import ChangeFilter
from services.notifications.read_models.cursor import MAX_CURSOR_CHARS, START, Vector, parse_cursor
from services.notifications.read_models.projection import CHANGES
from shared.commands.command import Reference
from shared.http.paging import DEFAULT_LIMIT, Limit

_TYPE: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*|[a-z0-9_.]*\*")
_LOG: Final = re.compile("|".join(CHANGES.logs))
_MAX_TYPE_CHARS: Final = 200
_MAX_VALUES: Final = 20


def _cursor(value: object) -> Vector:
    return parse_cursor(str(value))


def _types(value: object) -> tuple[str, ...]:
    return _values(str(value), _TYPE, "is not a list of event types, or beginnings of some with *")


def _logs(value: object) -> tuple[str, ...]:
    return _values(str(value), _LOG, f"is not a list of logs: {', '.join(CHANGES.logs)}")


def _values(text: str, pattern: re.Pattern[str], refusal: str) -> tuple[str, ...]:
    values = text.split(",")
    fits = all(len(v) <= _MAX_TYPE_CHARS and pattern.fullmatch(v) for v in values)
    if not fits or len(values) > _MAX_VALUES:
        raise ValueError(refusal)
    return tuple(values)


def _schema(description: str, *examples: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "description": description, "examples": list(examples), **more}
    )


After = Annotated[
    Vector,
    PlainValidator(_cursor),
    _schema(
        "A cursor of this feed, or positions. A log that is left out begins at its first event.",
        "registry:12,dependencies:3",
        maxLength=MAX_CURSOR_CHARS,
    ),
]
Types = Annotated[
    tuple[str, ...],
    PlainValidator(_types),
    _schema(
        "Event types, or how they begin, separated by commas.",
        "estate.service.role_*,estate.dependency.declared.v1",
    ),
]
Logs = Annotated[
    tuple[str, ...], PlainValidator(_logs), _schema("Logs, separated by commas.", *CHANGES.logs)
]


class ChangesQuery(BaseModel):
    """From where on, and which changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: After | None = None
    type: Types | None = None
    service: Reference | None = Field(
        default=None,
        description="A service that is the subject, or an end of the dependency: by any of its "
        "names known when the request begins.",
    )
    organisation: Reference | None = Field(
        default=None, description="An organisation that acts, or that the event names."
    )
    log: Logs | None = None

    def start(self) -> Vector:
        """Where to begin; the first event of every log when nothing else is said."""
        return self.after if self.after is not None else START

    def wanted(self) -> ChangeFilter:
        """The filter as given, with names as they were written."""
        types = self.type
        return ChangeFilter(
            types=None if types is None else frozenset(t for t in types if t[-1] != "*"),
            type_prefixes=tuple(t[:-1] for t in types or () if t[-1] == "*"),
            services=None if self.service is None else frozenset({self.service}),
            organisations=None if self.organisation is None else frozenset({self.organisation}),
            logs=CHANGES.logs if self.log is None else tuple(sorted({*self.log})),
        )


class PullQuery(ChangesQuery):
    """A page of changes."""

    limit: Limit = DEFAULT_LIMIT
    wait_s: Annotated[int, Field(ge=0, le=30)] = Field(
        default=0, description="How long to wait while there is nothing to answer."
    )
