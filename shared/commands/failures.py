"""Owns turning what kept a command out of the log into the problem that its sender is told.

Must be the only such place, so that HTTP and Kafka say the same.
"""

from typing import Final

from shared.commands.refusals import Refusal
from shared.eventstore.types import (
    ClockSuspectError,
    EventTooLargeError,
    KeyReusedError,
    LogHaltedError,
    LogUnavailableError,
    NameTakenError,
    OutcomeUnknownError,
    OverloadedError,
)
from shared.http import problems
from shared.http.problems import Problem

_KINDS: Final = (
    (KeyReusedError, problems.KEY_REUSED),
    (NameTakenError, problems.CONFLICT),
    (EventTooLargeError, problems.TOO_LARGE),
    (ClockSuspectError, problems.CLOCK_SUSPECT),
    (LogHaltedError, problems.LOG_HALTED),
    (OverloadedError, problems.OVERLOADED),
    (OutcomeUnknownError, problems.OUTCOME_UNKNOWN),
    (LogUnavailableError, problems.NOT_READY),
)


def problem_of(error: Exception) -> Problem | None:
    """The problem to answer with; None for an error that is a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refusal):
        return error.problem()
    for kind_of_error, kind in _KINDS:
        if isinstance(error, kind_of_error):
            return Problem(kind, str(error))
    return None


def is_passing(error: Exception) -> bool:
    """Whether the same command may well be accepted later, without any change to it."""
    return isinstance(error, LogUnavailableError | OutcomeUnknownError)
