"""Owns the pure functions that read yesterday's event versions as today's.

Must not change a stored event; bytes in the log stay as they were written.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final


def _visibility_from_flag(data: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 said `public: bool`; version 2 names the visibility."""
    rest = {key: value for key, value in data.items() if key != "public"}
    return {**rest, "visibility": "public" if data["public"] else "internal"}


UPCASTERS: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]]] = {
    "estate.service.visibility_set.v1": (
        "estate.service.visibility_set.v2",
        _visibility_from_flag,
    ),
}


def upcast(event_type: str, data: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any] | None]:
    """Bring a type and its data to the newest version, step by step; redacted data stays None."""
    while event_type in UPCASTERS:
        event_type, convert = UPCASTERS[event_type]
        data = None if data is None else convert(data)
    return event_type, data
