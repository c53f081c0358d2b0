"""Owns what became of a submission, and the key by which both doors know it again.

Must not read a submission's content; what it means is the service's concern.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from shared.contracts.names import SUBMISSION_ID_PATTERN, SUBMISSION_SOURCE_PATTERN
from shared.eventstore.reader import Pool

Headers = Sequence[tuple[str, bytes]]

EXPIRED: Final = """
expired AS (
    DELETE FROM messaging.rejections WHERE number IN (
        SELECT number FROM messaging.rejections
        WHERE recorded_at < now() - interval '30 days' AND published_at IS NOT NULL
        ORDER BY recorded_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
)
"""
"""For every statement that stores rejections: they are kept as long as submissions topics keep."""

_REFUSE: Final = f"""
WITH {EXPIRED}, refused AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) AS one (source, id, reason)
), replaced AS (
    DELETE FROM messaging.rejections WHERE number IN (
        SELECT r.number FROM messaging.rejections AS r JOIN refused USING (source, id)
        WHERE r.organisation = $1 AND r.topic IS NULL FOR UPDATE OF r SKIP LOCKED
    )
)
INSERT INTO messaging.rejections (organisation, source, id, reason, published_at)
SELECT $1, source, id, reason, clock_timestamp() FROM refused
"""  # noqa: S608 - both parts are static text.
_ACCEPTED: Final = "SELECT outcome FROM log.commands WHERE key = $1"
_REJECTED: Final = """
SELECT reason, topic, partition, kafka_offset FROM messaging.rejections
WHERE organisation = $1 AND source = $2 AND id = $3 ORDER BY number DESC LIMIT 1
"""


def submission_key(organisation: str, source: str, submission_id: str) -> str:
    """The command key of a submission, the same through HTTP and Kafka.

    Neither organisation nor source can hold a colon, so no two submissions share a key.
    """
    return f"submission:{organisation}:{source}:{submission_id}"


# Numbers stay text: whatever their size, reading them takes no time.
_LENIENT: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False)


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
    """Read source and id from a record that may be anything, also where it is no strict JSON."""
    try:
        return name_in(_LENIENT.decode(raw.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return SubmissionName(None, None)


def name_in(document: object) -> SubmissionName:
    """Read source and id from a tree of JSON values."""
    if not isinstance(document, dict):
        return SubmissionName(None, None)
    return SubmissionName(
        _fitting(SUBMISSION_SOURCE_PATTERN, document.get("source")),
        _fitting(SUBMISSION_ID_PATTERN, document.get("id")),
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
    """What became of a submission: `answer` if accepted, `problem` if rejected.

    `record` is where the rejected one stands on its topic. Whoever sent it again, corrected, knows
    by its offset whether the rejection is about that one or an earlier one.
    """

    state: State
    answer: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None


class Submissions:
    """Knows what became of submissions.

    `is_behind` tells whether records of an organisation wait unread.
    """

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

    async def keep_refused(
        self, organisation: str, refused: Sequence[tuple[SubmissionName, Mapping[str, Any]]]
    ) -> None:
        """Store why submissions over HTTP were refused; of one that is repeated, the last reason.

        What its sender did not name is not kept: nobody could ask for it.
        """
        kept = [
            (name.source, name.id, problem_text(problem))
            for name, problem in refused
            if name.source is not None and name.id is not None
        ]
        if kept:
            columns = zip(*kept, strict=True)
            await self._pool.execute(_REFUSE, organisation, *columns, timeout=self._timeout_s)

    async def status(self, organisation: str, source: str, submission_id: str) -> SubmissionStatus:
        """Tell what became of a submission.

        What is in the log is accepted, even if it was refused when it first came.
        """
        key = submission_key(organisation, source, submission_id)
        accepted = await self._pool.fetchval(_ACCEPTED, key, timeout=self._timeout_s)
        if accepted is not None:
            return SubmissionStatus("accepted", answer=orjson.loads(accepted))
        rejected = await self._pool.fetchrow(
            _REJECTED, organisation, source, submission_id, timeout=self._timeout_s
        )
        if rejected is not None:
            reason, topic, partition, offset = rejected
            record = {"topic": topic, "partition": partition, "offset": offset} if topic else None
            return SubmissionStatus("rejected", problem=orjson.loads(reason), record=record)
        return SubmissionStatus("pending" if self._is_behind(organisation) else "unknown")
