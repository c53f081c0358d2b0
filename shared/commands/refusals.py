"""Owns the form of a refusal: a rule's answer, equal over HTTP, Kafka and the command line.

Must not hold an estate rule; each service names its own refusals beside its deciders.
"""

from typing import ClassVar

from shared.eventstore.types import CommandRefusedError
from shared.http.problems import STALE_VERSION, Fault, Problem, ProblemKind, define_problem


class Refusal(CommandRefusedError):  # noqa: N818 - a refusal is an answer, not a fault.
    """A command that a rule forbids. A subclass is a kind of problem with a page of its own.

    `pointer` says which member of the request is at fault, where one is.
    """

    KIND: ClassVar[ProblemKind]

    def __init_subclass__(
        cls,
        *,
        slug: str = "",
        title: str = "",
        advice: str = "",
        status: int = 409,
        kind: ProblemKind | None = None,
    ) -> None:
        """Make the kind of problem that this refusal is answered with, or take one that exists."""
        super().__init_subclass__()
        cls.KIND = kind or define_problem(slug, status, title, advice)

    def __init__(self, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer

    def problem(self) -> Problem:
        """The refusal as an answer."""
        errors = [] if self.pointer is None else [Fault(self.pointer, self.detail)]
        return Problem(self.KIND, self.detail, errors=errors)


class NotFoundError(
    Refusal,
    slug="unknown-reference",
    status=404,
    title="Nothing is registered under this reference",
    advice="Check the id, slug or alias. If it is to be registered, register it first.",
):
    """A command names something that the log does not know."""


class NotYoursError(
    Refusal,
    slug="not-yours",
    status=403,
    title="It belongs to another organisation",
    advice="Ask the organisation that keeps it, or an administrator, to make this change.",
):
    """An emitter acts for one organisation only."""


class StaleVersionError(Refusal, kind=STALE_VERSION):
    """If-Match names a version that is no longer the newest."""


class NotKnownAtError(
    Refusal,
    slug="not-registered-then",
    title="It was not registered at that time",
    advice="Choose an effective time at or after its registration, or register it earlier.",
):
    """A fact cannot be true of something before it existed."""
