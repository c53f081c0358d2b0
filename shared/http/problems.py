"""Owns the problems an answer can report (RFC 9457), their titles and what to do about each.

Must not echo input, and must not name an estate rule: other modules define their own kinds here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: `slug` names its page at `/problems/<slug>`."""

    slug: str
    status: int
    title: str
    advice: str
    retry_after_s: int | None = None

    @property
    def type(self) -> str:
        """The RFC 9457 `type` of every problem of this kind."""
        return f"/problems/{self.slug}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong. `pointer` is a JSON pointer into the body, or `/name` of a parameter."""

    pointer: str
    detail: str


_KINDS: dict[str, ProblemKind] = {}


class Problem(Exception):  # noqa: N818 - the field's own word, RFC 9457.
    """A refusal or failure, answered as problem+json. Nothing in it may repeat raw input."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        errors: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{kind.slug}: {detail or kind.title}")
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        if kind.retry_after_s is not None:
            self.headers.setdefault("Retry-After", str(kind.retry_after_s))

    def document(self, correlation_id: str | None = None) -> dict[str, Any]:
        """The members of the answer; extra members never replace the standard ones."""
        standard: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
        }
        if self.detail is not None:
            standard["detail"] = self.detail
        if self.errors:
            standard["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        if correlation_id is not None:
            standard["correlation_id"] = correlation_id
        return {**self.extra, **standard}

    def body(self, correlation_id: str | None = None) -> bytes:
        """The bytes of the answer."""
        return orjson.dumps(self.document(correlation_id))


def define_problem(
    slug: str, status: int, title: str, advice: str, *, retry_after_s: int | None = None
) -> ProblemKind:
    """Register a kind of problem; meant for module level.

    Raises: ValueError when the slug is taken.
    """
    if slug in _KINDS:
        raise ValueError(f"the problem {slug} is defined twice")
    kind = ProblemKind(slug, status, title, advice, retry_after_s)
    _KINDS[slug] = kind
    return kind


def problem_kind(slug: str) -> ProblemKind:
    """The kind of that name. Raises: KeyError."""
    return _KINDS[slug]


def problem_kinds() -> tuple[ProblemKind, ...]:
    """All kinds, by slug."""
    return tuple(_KINDS[slug] for slug in sorted(_KINDS))


BAD_REQUEST = define_problem(
    "bad-request",
    400,
    "The request is not well formed",
    "Correct the header or the form of the request that the detail names, then send it again.",
)
MALFORMED_JSON = define_problem(
    "malformed-json",
    400,
    "The body is not acceptable JSON",
    "Send strict JSON in UTF-8: no repeated keys, no NaN, no fractions (write decimals as "
    "strings), no integer beyond 2^53-1, and not too deep.",
)
BAD_QUERY = define_problem(
    "bad-query",
    400,
    "A query parameter is not acceptable",
    "Use only the parameters that the documentation of this operation lists, each at most once. "
    "The errors name the parameters at fault.",
)
UNAUTHENTICATED = define_problem(
    "unauthenticated",
    401,
    "No valid credential was presented",
    "Send a current API key or token as 'Authorization: Bearer <credential>'. If it used to work, "
    "it may have expired or been revoked: ask an administrator of the registry for a new one.",
)
FORBIDDEN = define_problem(
    "forbidden",
    403,
    "The credential does not allow this",
    "Use a credential with one of the roles that the documentation of this operation names, "
    "for the organisation concerned.",
)
NOT_FOUND = define_problem(
    "not-found",
    404,
    "There is nothing here",
    "Check the address and the id. Ids, slugs and aliases are exact, small letters matter.",
)
NOT_KNOWN_THEN = define_problem(
    "not-known-then",
    404,
    "It did not exist at that time",
    "It exists, but not as of the effective time or known time that was asked for. "
    "Ask for a later time, or leave as_of and known_at out.",
)
METHOD_NOT_ALLOWED = define_problem(
    "method-not-allowed",
    405,
    "The method is not served at this address",
    "Use one of the methods in the Allow header.",
)
TOO_SLOW = define_problem(
    "too-slow",
    408,
    "The body of the request did not arrive in time",
    "Send the whole body within ten seconds. A command may be sent again with the same "
    "Idempotency-Key.",
)
CONFLICT = define_problem(
    "conflict",
    409,
    "The estate does not allow this change now",
    "Read the present state, then decide whether the change is still wanted.",
)
STALE_VERSION = define_problem(
    "stale-version",
    412,
    "It has changed since it was read",
    "Read it again, take the new ETag, and send the command with it if it is still wanted.",
)
TOO_LARGE = define_problem(
    "too-large",
    413,
    "The request is too large",
    "Send a smaller body: split a batch into several.",
)
UNSUPPORTED_MEDIA_TYPE = define_problem(
    "unsupported-media-type",
    415,
    "The media type of the body is not accepted here",
    "Send one of the media types that the documentation of this operation names, in UTF-8.",
)
CONTENT_ENCODING_REFUSED = define_problem(
    "content-encoding-refused",
    415,
    "Compressed bodies are not accepted",
    "Send the body without Content-Encoding.",
)
EXPECTATION_FAILED = define_problem(
    "expectation-failed",
    417,
    "The expectation is not met here",
    "Leave the Expect header out, or send 100-continue.",
)
INVALID_REQUEST = define_problem(
    "invalid-request",
    422,
    "The request does not have the form that this operation asks for",
    "Correct the members that the errors point at; the documentation shows the schema and an "
    "example.",
)
KEY_REUSED = define_problem(
    "key-reused",
    422,
    "The Idempotency-Key was used for another request",
    "A key stands for one request only. Send the first request again unchanged to see its outcome, "
    "or use a new key.",
)
INTERNAL = define_problem(
    "internal",
    500,
    "The service failed",
    "This is a fault of the service and has been recorded. Tell its operators the correlation id. "
    "A command may be sent again with the same Idempotency-Key.",
)
OVERLOADED = define_problem(
    "overloaded",
    503,
    "The service has too much to do",
    "Wait as long as Retry-After says, then send the request again; nothing was done.",
    retry_after_s=1,
)
TIMED_OUT = define_problem(
    "timed-out",
    503,
    "The answer took too long",
    "Send the request again; for a command use the same Idempotency-Key, since it may have been "
    "accepted.",
    retry_after_s=2,
)
OUTCOME_UNKNOWN = define_problem(
    "outcome-unknown",
    503,
    "It is not known whether the command was accepted",
    "Send the same command with the same Idempotency-Key until a definite answer comes. Do not use "
    "a new key.",
    retry_after_s=2,
)
NOT_READY = define_problem(
    "not-ready",
    503,
    "The service is not ready",
    "Something it depends on is missing; /readyz names it. Try again later.",
    retry_after_s=5,
)
CLOCK_SUSPECT = define_problem(
    "clock-suspect",
    503,
    "The clock of the service is in doubt",
    "Commands are refused until the clocks of service and database agree. Operators: check time "
    "synchronisation.",
    retry_after_s=30,
)
LOG_HALTED = define_problem(
    "log-halted",
    503,
    "The log has been halted",
    "The log and its published copy disagree; an operator must look before anything is written. "
    "Reading goes on.",
    retry_after_s=60,
)
NOT_YET_VISIBLE = define_problem(
    "not-yet-visible",
    503,
    "The read model has not reached that position yet",
    "The write is safe. Ask again after Retry-After, or without min_position.",
    retry_after_s=1,
)
