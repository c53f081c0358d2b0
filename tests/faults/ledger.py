"""Owns the client's ledger: every request that was sent, and what its sender was told of it.

Must not look at the estate: it is what the estate is held against.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

Door = Literal["http", "kafka"]
State = Literal["unknown", "accepted", "refused"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `key` is the command's key in the log, `path` a route or a type."""

    key: str
    log: str
    door: Door
    sender: str
    path: str
    name: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Entry:
    """A request and what became of it; `doubtful` refusals came from another process."""

    request: Request
    state: State = "unknown"
    answer: Mapping[str, Any] | None = None
    problem: str = ""
    doubtful: bool = False


@dataclass(slots=True)
class Told:
    """A ledger as it was read."""

    entries: dict[str, Entry] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Ledger:
    """Appends to a file, a line for each request sent and for each outcome learned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.violations: list[str] = []
        self._file = path.open("ab", buffering=0)

    def send(self, request: Request) -> None:
        """Note a request before it is sent for the first time."""
        self.sent += 1
        self._write({"kind": "sent", **asdict(request)})

    def accept(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Note that a request was acknowledged."""
        self.accepted += 1
        self._write({"kind": "accepted", "key": request.key, "answer": answer})

    def refuse(self, request: Request, problem: str, *, doubtful: bool) -> None:
        """Note that a rule refused a request."""
        self.refused += 1
        line = {"kind": "refused", "key": request.key, "problem": problem, "doubtful": doubtful}
        self._write(line)

    def violate(self, what: str) -> None:
        """Note an answer that must never be given."""
        self.violations.append(what)
        self._write({"kind": "violation", "what": what})

    def plant(self, kind: Literal["credential", "text"], canary: str) -> None:
        """Note what must appear in no log file and, if a credential, in no answer either."""
        self._write({"kind": kind, "canary": canary})

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(orjson.dumps(line) + b"\n")


def read_ledger(path: Path) -> Told:
    """Read a ledger whole."""
    told = Told()
    for line in _lines(path):
        match line.pop("kind"):
            case "sent":
                request = Request(**line)
                told.entries[request.key] = Entry(request)
            case "accepted":
                entry = told.entries[line["key"]]
                entry.state, entry.answer = "accepted", line["answer"]
            case "refused":
                entry = told.entries[line["key"]]
                entry.state, entry.problem = "refused", line["problem"]
                entry.doubtful = line["doubtful"]
            case "violation":
                told.violations.append(line["what"])
            case "credential":
                told.credentials.append(line["canary"])
            case "text":
                told.texts.append(line["canary"])
    return told


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)
