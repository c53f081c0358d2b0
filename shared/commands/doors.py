"""Owns the two forms in which commands arrive: an HTTP command, and a submission (CloudEvents).

Must not know any particular command, and must not wait for the log; both forms end in one
`PendingCommand`, decided by the same rule.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.auth.principals import Principal, Role
from shared.clock import Clock, IdSource
from shared.commands.command import Alias, CommandBody, CommandType, Context, Reference
from shared.commands.reading import Instant, read_tree
from shared.commands.refusals import Refusal
from shared.contracts.canonical import canonical_bytes
from shared.contracts.envelope import Origin
from shared.contracts.names import SUBMISSION_ID_PATTERN, SUBMISSION_SOURCE_PATTERN
from shared.eventstore.types import Decide, Decision, PendingCommand, View
from shared.http.problems import FORBIDDEN, Problem, define_problem
from shared.messaging.submissions import submission_key

UNKNOWN_COMMAND: Final = define_problem(
    "unknown-command",
    422,
    "This service takes no submission of this type",
    "Check the type, and that it is sent to the service that takes it; /openapi.json lists them.",
)

EmitterSource = Annotated[str, Field(pattern=f"^{SUBMISSION_SOURCE_PATTERN.pattern}$")]
SubmissionId = Annotated[str, Field(pattern=f"^{SUBMISSION_ID_PATTERN.pattern}$")]
CorrelationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Submission(BaseModel):
    """A CloudEvents 1.0 event, structured JSON, that asks for one change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    specversion: Literal["1.0"]
    id: SubmissionId
    source: EmitterSource
    type: Annotated[str, Field(max_length=100)]
    subject: Annotated[str, Field(min_length=1, max_length=265)] | None = None
    time: Instant | None = Field(default=None, description="True from; now when not given.")
    datacontenttype: Literal["application/json"] | None = None
    correlationid: CorrelationId | None = None
    data: dict[str, Any]


class _New(BaseModel):
    """What a submission that registers something may have as its subject: its emitter's name."""

    subject: Alias | None


class _Existing(BaseModel):
    """What a submission about something registered must have as its subject."""

    subject: Reference


_BESIDE_DATA: Final = {"/subject": "/subject", "/effective_from": "/time"}


@dataclass(frozen=True, slots=True)
class HttpCommand:
    """An HTTP command as it arrived, read and validated."""

    body: CommandBody
    tree: Mapping[str, Any]
    target: str | None
    effective_from: datetime | None
    idempotency_key: str | None
    if_match: int | None
    correlation_id: str
    dry_run: bool


def kafka_principal(organisation: str) -> Principal:
    """Who speaks through an organisation's topic: the broker lets nobody else write there."""
    return Principal(
        id=organisation,
        credential_id="kafka",
        roles=frozenset({Role.EMITTER}),
        organisation=organisation,
    )


class Doors:
    """Turns what arrives into pending commands of the given types."""

    def __init__(
        self, commands: Iterable[CommandType[Any]], clock: Clock, new_id: IdSource
    ) -> None:
        self.commands = {command.name: command for command in commands}
        self._clock = clock
        self._new_id = new_id

    def from_http(
        self, command: CommandType[Any], principal: Principal, arrived: HttpCommand
    ) -> PendingCommand:
        """Make the pending command of an HTTP command.

        Its key is scoped to the principal, so another credential of the same principal may repeat
        it; without Idempotency-Key a repeat is a new command.
        """
        idempotency_key = arrived.idempotency_key or self._new_id("once_")
        key = f"http:{principal.id}:{command.name}:{idempotency_key}"
        asked = [command.name, arrived.target, arrived.if_match, arrived.tree]
        context = self._context(principal, arrived.effective_from, arrived.if_match)
        origin = _origin(principal, "http", arrived.correlation_id, key)
        return _pending(
            command, arrived.body, arrived.target, context, origin, asked, dry_run=arrived.dry_run
        )

    def from_submission(
        self, tree: Any, principal: Principal, door: str, correlation_id: str, at: str = ""
    ) -> PendingCommand:
        """Make the pending command of a submission from one organisation.

        Raises: Problem when it is malformed, of an unknown type, or its sender may not send it.
        """
        submission = read_tree(Submission, tree, at)
        command = self.commands.get(submission.type)
        if command is None:
            raise Problem(UNKNOWN_COMMAND)
        if principal.organisation is None or not principal.has_any(command.allow):
            raise Problem(FORBIDDEN, "Submissions come from an organisation's own credential.")
        read_tree(_New if command.creates else _Existing, {"subject": submission.subject}, at)
        body = read_tree(command.body, submission.data, f"{at}/data")
        key = submission_key(principal.organisation, submission.source, submission.id)
        context = self._context(principal, submission.time, None)
        origin = _origin(principal, door, submission.correlationid or correlation_id, key)
        asked = {name: value for name, value in tree.items() if name != "correlationid"}
        pending = _pending(command, body, submission.subject, context, origin, asked)
        return replace(pending, decide=_pointing_into_submission(pending.decide, at))

    def _context(
        self, principal: Principal, effective_at: datetime | None, if_match: int | None
    ) -> Context:
        now = self._clock.now()
        return Context(principal, now, effective_at or now, self._new_id(""), if_match)


def _origin(principal: Principal, door: str, correlation_id: str, key: str) -> Origin:
    return Origin(
        actor=principal.id,
        credential_id=principal.credential_id,
        organisation=principal.organisation,
        door=door,
        correlation_id=correlation_id,
        causation_id=key,
    )


def _pointing_into_submission(decide: Decide, at: str) -> Decide:
    """Let refusals point at members of the submission, whose `data` is the command's body."""

    def decide_pointing(view: View) -> Decision:
        try:
            return decide(view)
        except Refusal as refusal:
            if refusal.pointer is not None:
                place = _BESIDE_DATA.get(refusal.pointer, f"/data{refusal.pointer}")
                refusal.pointer = f"{at}{place}"
            raise

    return decide_pointing


def _pending(
    command: CommandType[Any],
    body: CommandBody,
    target: str | None,
    context: Context,
    origin: Origin,
    asked: Any,
    *,
    dry_run: bool = False,
) -> PendingCommand:
    def decide(view: View) -> Decision:
        return command.decide(body, target, context, view)

    request_hash = hashlib.sha256(canonical_bytes(asked)).digest()
    return PendingCommand(origin.causation_id, request_hash, origin, decide, dry_run)
