"""Owns reading an untrusted tree into a command's body, with every fault named at once.

Must not echo input.
"""

from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema

from shared.clock import parse_instant
from shared.http.faults import faults_of
from shared.http.problems import INVALID_REQUEST, Problem

M = TypeVar("M", bound=BaseModel)

EARLIEST_YEAR: Final = 1800
LATEST_YEAR: Final = 2200


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic reports ValueError.
    instant = parse_instant(value)
    if not EARLIEST_YEAR <= instant.year <= LATEST_YEAR:
        raise ValueError(f"must lie between the years {EARLIEST_YEAR} and {LATEST_YEAR}")
    return instant


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:00:00Z"]}),
]
"""An RFC 3339 instant with a zone, read as UTC."""


def read_tree(model: type[M], tree: Any, at: str = "") -> M:
    """Validate a tree of JSON values.

    Raises: Problem `invalid-request` with a JSON pointer for each fault, below `at`.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise Problem(INVALID_REQUEST, errors=faults_of(error, tree, at)) from error
