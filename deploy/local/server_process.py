"""Owns the description of one server process, as it goes from the launcher to the keeper.

Must not import anything but the standard library: the keeper starts in a blink.
"""

import json
import signal
from dataclasses import asdict, dataclass, field

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """How to start a server, where it logs and how it is stopped."""

    name: str
    argv: list[str]
    cwd: str
    log: str
    env: dict[str, str] = field(default_factory=dict)
    unset_env: list[str] = field(default_factory=list)
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    stop_deadline_s: float = 8.0


def to_line(message: JsonObject) -> bytes:
    """One message is one line of JSON, in both directions."""
    return json.dumps(message).encode() + b"\n"


def from_line(line: bytes) -> JsonObject:
    """Raises ValueError on anything that is not a JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {line!r}")  # noqa: TRY004 - a bad value on the wire.
    return message


def as_json(server: ServerProcess) -> JsonObject:
    """The server as the body of a `start` message."""
    return asdict(server)
