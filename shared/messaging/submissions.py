"""Owns what became of a submission, and the key by which both doors know it again.

Must not read a submission's content; what it means is the service's concern.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from shared.eventstore.reader import Pool

Headers = Sequence[tuple[str, bytes]]

_SOURCE: Final = re.compile(r"[a-z0-9-]{1,64}")
_ID: Final = re.compile(r"[\x20-\x7e]{1,200}")

_ACCEPTED: Final = "SELECT outcome FROM log.commands WHERE key = $1"
_REJECTED: Final = """
SELECT reason FROM messaging.rejections
WHERE organisation = $1 AND source = $2 AND id = $3 ORDER BY number DESC LIMIT 1
"""


def submission_key(organisation: str, source: str, submission_id: str) -> str:
    """The command key of a submission, the same through HTTP and Kafka.

    Neither organisation nor source can hold a colon, so no two submissions share a key.
    """
    return f"submission:{organisation}:{source}:{submission_id}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record cannot become a command: an RFC 9457 problem."""

    problem: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SubmissionName:
    """How its sender names a submission, as far as the record tells."""

    source: str | None
    id: str | None


def name_submission(raw: bytes) -> SubmissionName:
    """Read source and id from a record that may be anything."""
    try:
        document = orjson.loads(raw)
    except ValueError:
        return SubmissionName(None, None)
    if not isinstance(document, dict):
        return SubmissionName(None, None)
    return SubmissionName(
        _fitting(_SOURCE, document.get("source")), _fitting(_ID, document.get("id"))
    )


def _fitting(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def digest_of(raw: bytes) -> bytes:
    """The SHA-256 by which a sender finds the submission that a rejection is about."""
    return hashlib.sha256(raw).digest()


def problem_text(problem: Mapping[str, Any]) -> str:
    """Write a problem as JSON, whatever it holds."""
    try:
        return orjson.dumps(problem, default=str).decode()
    except (TypeError, ValueError):
        title = "The submission was refused for a reason that cannot be shown."
        return orjson.dumps({"type": "/problems/submission-refused", "title": title}).decode()


State = Literal["accepted", "rejected", "pending", "unknown"]


@dataclass(frozen=True, slots=True)
class SubmissionStatus:
    """What became of a submission: `answer` if accepted, `problem` if rejected."""

    state: State
    answer: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None


class Submissions:
    """Looks submissions up; `is_behind` tells whether records of an organisation wait unread."""

    def __init__(
        self,
        pool: Pool,
        *,
        is_behind: Callable[[str], bool] = lambda _organisation: False,
        timeout_s: float = 10.0,
    ) -> None:
        self._pool = pool
        self._is_behind = is_behind
        self._timeout_s = timeout_s

    async def status(self, organisation: str, source: str, submission_id: str) -> SubmissionStatus:
        """Tell what became of a submission.

        What is in the log is accepted, even if it was refused when it first came.
        """
        key = submission_key(organisation, source, submission_id)
        accepted = await self._pool.fetchval(_ACCEPTED, key, timeout=self._timeout_s)
        if accepted is not None:
            return SubmissionStatus("accepted", answer=orjson.loads(accepted))
        reason = await self._pool.fetchval(
            _REJECTED, organisation, source, submission_id, timeout=self._timeout_s
        )
        if reason is not None:
            return SubmissionStatus("rejected", problem=orjson.loads(reason))
        return SubmissionStatus("pending" if self._is_behind(organisation) else "unknown")
