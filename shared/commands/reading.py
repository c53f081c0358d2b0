"""Owns reading an untrusted tree into a command's body, with every fault named at once.

Must not echo input.
"""

from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from shared.clock import parse_instant
from shared.http.problems import INVALID_REQUEST, Fault, Problem
from shared.http.strict_json import pointer_token

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
        found = error.errors(include_input=False, include_url=False, include_context=False)
        faults = [Fault(at + _pointer(one, tree), _detail(one)) for one in found[:50]]
        raise Problem(INVALID_REQUEST, errors=faults) from error


def _detail(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")


def _pointer(fault: ErrorDetails, tree: Any) -> str:
    """The place of a fault in what was sent; pydantic also names the tags of unions."""
    tokens, node = [], tree
    for part in fault["loc"]:
        try:
            node = node[part]
        except (LookupError, TypeError):
            if fault["type"] != "missing" or part != fault["loc"][-1]:
                continue
        tokens.append(f"/{pointer_token(str(part))}")
    return "".join(tokens)
