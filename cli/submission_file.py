"""Owns reading submissions from a file: one CloudEvent, an array of them, or one on each line.

Must not judge a submission beyond what sending it takes; the service does.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from cli.failures import WrongUse

STDIN: Final = "-"
_ADVICE: Final = (
    "A submission is a CloudEvent in JSON: specversion, id, source, type, data. The file holds "
    "one, an array of them, or one on each line."
)
_DEPENDENCIES_TYPES: Final = "estate.dependency."


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One submission to send; `number` is its place in the file, from 1."""

    number: int
    source: str
    id: str
    type: str
    raw: bytes

    @property
    def service(self) -> str:
        """The service that takes its type."""
        return "dependencies" if self.type.startswith(_DEPENDENCIES_TYPES) else "registry"


def read_submissions(name: str) -> list[Outgoing]:
    """Read a file, or stdin for `-`.

    Raises: WrongUse naming what is not a submission.
    """
    raw = sys.stdin.buffer.read() if name == STDIN else _read(Path(name))
    if not raw.strip():
        raise WrongUse(f"{name} is empty.", _ADVICE)
    return [_outgoing(number, part) for number, part in enumerate(_parts(raw), start=1)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongUse(f"{path} cannot be read: {error.strerror}") from None


def _parts(raw: bytes) -> list[bytes]:
    """The text of each submission; a document that is not an array stays as it was written."""
    try:
        whole: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return [line.strip() for line in raw.split(b"\n") if line.strip()]
    if isinstance(whole, list):
        return [orjson.dumps(one) for one in whole]
    return [raw.strip()]


def _outgoing(number: int, raw: bytes) -> Outgoing:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WrongUse(f"Submission {number} is not JSON: {error.msg}.", _ADVICE) from None
    if not isinstance(document, dict):
        raise WrongUse(f"Submission {number} is not a JSON object.", _ADVICE)
    named = [document.get(name) for name in ("source", "id", "type")]
    if not all(isinstance(value, str) and value for value in named):
        raise WrongUse(f"Submission {number} lacks source, id or type.", _ADVICE)
    source, identity, kind = named
    return Outgoing(number, str(source), str(identity), str(kind), raw)
