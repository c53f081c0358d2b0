"""Owns the JSON Schemas of the contract; `python -m shared.contracts.schemas` writes them.

Must not be edited by hand in their folder: models and the table below are what they are made from.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from shared.contracts.events import EVENT_MODELS

FOLDER: Final = Path(__file__).parent / "schemas"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DECIMAL: Final = r"^[1-9][0-9]{0,17}$"
_INSTANT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"

_ATTRIBUTES: Final[Mapping[str, Mapping[str, Any]]] = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "pattern": "^evt_[0-9a-f]{32}$"},
    "source": {"type": "string", "pattern": "^estate/[a-z]+$", "description": "The log."},
    "type": {"type": "string", "pattern": r"^estate\.[a-z]+\.[a-z_]+\.v[1-9][0-9]*$"},
    "subject": {"type": "string", "minLength": 1, "description": "Whom the fact is about."},
    "time": {"type": "string", "pattern": _INSTANT, "description": "True in the world from."},
    "datacontenttype": {"const": "application/json"},
    "position": {"type": "string", "pattern": _DECIMAL, "description": "The place in the log."},
    "timeline": {"type": "string", "pattern": _DECIMAL},
    "streamversion": {"type": "string", "pattern": _DECIMAL},
    "recordedtime": {"type": "string", "pattern": _INSTANT, "description": "When it was known."},
    "actor": {"type": "string", "description": "Who, as an opaque id."},
    "credentialid": {"type": "string", "description": "By what credential."},
    "organisation": {"type": "string", "description": "For which organisation, if for one."},
    "door": {"enum": ["http", "kafka", "policy"]},
    "correlationid": {"type": "string"},
    "causationid": {"type": "string", "description": "The key of the command behind it."},
    "datahash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "datasalt": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "data": {"type": "object"},
}
_MAY_BE_ABSENT: Final = frozenset({"organisation", "data", "datasalt"})


def schemas() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema with its name: the envelope, and the data of each event type of today."""
    yield "envelope", {"$schema": _DIALECT} | envelope()
    for event_type, model in EVENT_MODELS.items():
        yield event_type, {"$schema": _DIALECT} | model.model_json_schema(by_alias=True)


def envelope() -> dict[str, Any]:
    """The JSON Schema of an event as it is logged, published and answered."""
    return {
        "title": "Event",
        "description": "A logged event. Once redacted it has neither data nor datasalt.",
        "type": "object",
        "properties": _ATTRIBUTES,
        "required": sorted(set(_ATTRIBUTES) - _MAY_BE_ABSENT),
        "dependentRequired": {"data": ["datasalt"], "datasalt": ["data"]},
    }


def rendered() -> dict[Path, bytes]:
    """Every file of the folder and what it must hold."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return {FOLDER / f"{name}.json": orjson.dumps(one, option=options) for name, one in schemas()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, content in rendered().items():
        path.write_bytes(content)
