"""Owns the checkpoint document: the roots that an auditor keeps where the operator cannot reach.

Must not trust the document's form: whoever asks for a verification hands it in.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from shared.audit.findings import LogCheckpoint, LogReport

VERSION: Final = 1
MAX_DOCUMENT_BYTES: Final = 64 * 1024

_MAX_POSITION: Final = 2**53 - 1
_LOG: Final = re.compile(r"[a-z0-9_-]{1,64}")
_ROOT: Final = re.compile(r"[0-9a-f]{64}")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)


class CheckpointError(ValueError):
    """The document is no checkpoint; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The roots of several logs, and when they were taken."""

    logs: tuple[LogCheckpoint, ...]
    made_at: datetime

    def of(self, log: str) -> LogCheckpoint:
        """The checkpoint of one log.

        Raises: CheckpointError when it says nothing of that log.
        """
        for checkpoint in self.logs:
            if checkpoint.log == log:
                return checkpoint
        raise CheckpointError(f"the checkpoint says nothing of the log {log}")


def make_checkpoint(reports: Iterable[LogReport], made_at: datetime) -> Checkpoint:
    """Keep the roots that were just verified.

    Raises: ValueError for a log in which a fault was found: its root must not be trusted later.
    """
    reports = tuple(reports)
    for report in reports:
        if report.first_fault is not None:
            raise ValueError(f"the log {report.log} has a fault; there is nothing to keep of it")
    logs = (LogCheckpoint(r.log, r.timeline, r.position, r.root) for r in reports)
    return Checkpoint(tuple(logs), made_at.astimezone(UTC))


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Write the document."""
    logs = [
        {
            "log": log.log,
            "timeline": log.timeline,
            "position": log.position,
            "root": log.root.hex(),
        }
        for log in checkpoint.logs
    ]
    made_at = checkpoint.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"version": VERSION, "logs": logs, "made_at": made_at}, indent=2) + "\n"


def parse_checkpoint(document: bytes) -> Checkpoint:
    """Read the document.

    Raises: CheckpointError for anything that `format_checkpoint` would not have written.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise CheckpointError(f"a checkpoint has at most {MAX_DOCUMENT_BYTES} bytes")
    try:
        content = json.loads(document.decode(), object_pairs_hook=_members)
    except CheckpointError:
        raise
    except (ValueError, RecursionError):
        raise CheckpointError("the checkpoint is not JSON") from None
    members = _exactly(content, "the checkpoint", ("version", "logs", "made_at"))
    if type(members["version"]) is not int or members["version"] != VERSION:
        raise CheckpointError(f"version must be {VERSION}")
    if not isinstance(members["logs"], list) or not members["logs"]:
        raise CheckpointError("logs must be a list that is not empty")
    logs = tuple(_log(item, f"logs[{index}]") for index, item in enumerate(members["logs"]))
    if len({log.log for log in logs}) != len(logs):
        raise CheckpointError("logs names one log twice")
    return Checkpoint(logs, _instant(members["made_at"]))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the document from a file.

    Raises: CheckpointError when there is no such file too.
    """
    try:
        with path.open("rb") as file:
            document = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return parse_checkpoint(document)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the document to a file, which holds the old or the new one at any time."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(format_checkpoint(checkpoint))
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


def _log(item: Any, where: str) -> LogCheckpoint:
    members = _exactly(item, where, ("log", "timeline", "position", "root"))
    if not (isinstance(members["log"], str) and _LOG.fullmatch(members["log"])):
        raise CheckpointError(f"{where}.log must be the name of a log")
    if not (isinstance(members["root"], str) and _ROOT.fullmatch(members["root"])):
        raise CheckpointError(f"{where}.root must be 64 hexadecimal digits in lower case")
    timeline = _count(members["timeline"], f"{where}.timeline", 1)
    position = _count(members["position"], f"{where}.position", 0)
    return LogCheckpoint(members["log"], timeline, position, bytes.fromhex(members["root"]))


def _count(value: Any, where: str, least: int) -> int:
    if type(value) is not int or not least <= value <= _MAX_POSITION:
        raise CheckpointError(f"{where} must be an integer from {least} on")
    return value


def _instant(value: Any) -> datetime:
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise CheckpointError("made_at must be an instant such as 2026-01-31T09:30:00Z")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CheckpointError("the checkpoint holds one name twice")
    return members


def _exactly(value: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise CheckpointError(f"{where} must have exactly the members {', '.join(names)}")
    return value
