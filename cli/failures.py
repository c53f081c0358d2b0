"""Owns what goes wrong for somebody at the command line: what is said, and the exit code.

Must not show a key, nor text of a server that could steer the terminal.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

from cli.terminal import say

ANSWER_IS_NO: Final = 1
WRONG_USE: Final = 2
_WRONG_USE_PROBLEMS: Final = frozenset({"bad-query", "bad-request", "invalid-request"})


class Failure(Exception):  # noqa: N818 - the parent of faults and of plain answers.
    """Something that ends the command. `advice` says what to do."""

    exit_code = ANSWER_IS_NO

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def lines(self) -> list[str]:
        """What to print, line by line."""
        return [self.message]


class WrongUse(Failure):
    """The command was not called in a way that can work."""

    exit_code = WRONG_USE


class WrongConfiguration(WrongUse):
    """Settings are missing or wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("The configuration is wrong:", "See docs/configuration.md.")
        self.faults = faults

    def lines(self) -> list[str]:
        """Every fault on a line."""
        return [self.message, *self.faults]


class NothingRuns(Failure):
    """The service does not answer."""


class Refused(Failure):
    """A service answered with a problem."""

    def __init__(self, service: str, problem: Mapping[str, Any], advice: str | None) -> None:
        super().__init__(str(problem.get("title") or "It answered without a problem document"))
        self.service = service
        self.problem = problem
        self.advice = advice
        if str(problem.get("type", "")).rpartition("/")[2] in _WRONG_USE_PROBLEMS:
            self.exit_code = WRONG_USE

    def lines(self) -> list[str]:
        """Title, detail, what the errors point at, and the id to quote."""
        lines = [self.message, *faults(self.problem)]
        if correlation_id := self.problem.get("correlation_id"):
            lines.append(f"{self.service}, correlation id {correlation_id}")
        return lines


def faults(problem: Mapping[str, Any]) -> list[str]:
    """The detail of a problem, and what its errors point at."""
    detail = [str(problem["detail"])] if problem.get("detail") else []
    errors = problem.get("errors")
    told = [
        f"{error.get('pointer', '')} {error.get('detail', '')}".strip()
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, Mapping)
    ]
    return detail + told


def tell_of_kafka_once() -> None:
    """Keep Kafka's client from repeating each failed connection, which the command tells."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def ended_by(failure: Failure) -> typer.Exit:
    """Say what failed and what to do, on stderr; return what ends the command."""
    first, *others = failure.lines()
    say(first, label="Wrong use" if failure.exit_code == WRONG_USE else "Failed")
    for line in others:
        say(f"  {line}")
    if failure.advice:
        say(failure.advice, label="What to do")
    return typer.Exit(failure.exit_code)
