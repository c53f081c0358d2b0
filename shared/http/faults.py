"""Owns saying in words, with its place, what is wrong with a tree that was validated.

Must not repeat input.
"""

from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.http.problems import Fault
from shared.http.strict_json import pointer_token

MAX_FAULTS: Final = 50
_WORDS: Final = {
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "tuple_type": "must be an array",
}
_CHOICES: Final = frozenset({"enum", "literal_error"})


def faults_of(error: ValidationError, tree: Any, at: str = "") -> list[Fault]:
    """Every fault with a JSON pointer below `at`; choices of one place are listed as one fault."""
    choices: dict[str, list[str]] = {}
    details: list[tuple[str, str | None]] = []
    for item in error.errors(include_url=False, include_input=False):
        pointer = at + _pointer(item, tree)
        if item["type"] not in _CHOICES:
            details.append((pointer, _detail(item)))
            continue
        if pointer not in choices:
            details.append((pointer, None))
        choices.setdefault(pointer, []).append(item["ctx"]["expected"])
    return [
        Fault(pointer, _one_of(choices[pointer]) if detail is None else detail)
        for pointer, detail in details[:MAX_FAULTS]
    ]


def _one_of(expected: Iterable[str]) -> str:
    """Pydantic writes `'a', 'b' or 'c'`; values of ours hold neither comma nor quotation mark."""
    names = [name for text in expected for name in text.replace(" or ", ", ").split(", ")]
    *but_last, last = dict.fromkeys(names)
    return f"must be {', '.join(but_last)} or {last}" if but_last else f"must be {last}"


def _pointer(item: ErrorDetails, tree: Any) -> str:
    """The place of the fault in what was sent; pydantic also names the tags of unions."""
    tokens: list[str] = []
    node = tree
    for part in item["loc"]:
        if _is_in(part, node):
            node = node[part]
        elif item["type"] != "missing" or part != item["loc"][-1]:
            continue
        tokens.append(f"/{pointer_token(str(part))}")
    return "".join(tokens)


def _is_in(part: int | str, node: Any) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _detail(item: ErrorDetails) -> str:
    if item["type"] == "union_tag_invalid":
        return f"Must be one of {item.get('ctx', {}).get('expected_tags', 'the known ones')}"
    said = _WORDS.get(item["type"], item["msg"])
    return said.removeprefix("Value error, ").removeprefix("Assertion failed, ")
