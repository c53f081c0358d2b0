"""Owns the acts by which an operator repairs a log that is halted, or whose topic was lost.

Must be run as the database's owner: the service's own role cannot begin a publication or timeline.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import asyncpg

from shared.contracts.topics import events_topic
from shared.eventstore.reader import check_log

_TIMEOUT_S: Final = 30.0
_LOCK_HEAD: Final = """
SELECT position, timeline, publication, halted FROM log.head FOR UPDATE
"""
# The relay notes each publication that it has met, so that no number comes twice.
_PUBLICATIONS: Final = """
SELECT coalesce(max(publication), 0) AS highest,
    coalesce(max(published) FILTER (WHERE publication = $1), 0) AS published
FROM messaging.publications
"""
_CHANGE: Final = "UPDATE log.head SET halted = NULL, timeline = $1, publication = $2"
_RECORD: Final = """
INSERT INTO log.repairs (act, done_by, reason, lifted, position, timeline, publication)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


class Act(StrEnum):
    """What can be done to a log as a whole."""

    LIFT_HALT = "lift-halt"
    NEW_PUBLICATION = "new-publication"
    NEW_TIMELINE = "new-timeline"


@dataclass(frozen=True, slots=True)
class LogState:
    """A log before an act; `published` is how much its publication is known to have held.

    `highest` is the highest number of a publication that was ever met.
    """

    position: int
    timeline: int
    publication: int
    halted: str | None
    published: int
    highest: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done, and where the log stands now; `lifted` is the halt that it ended."""

    act: Act
    log: str
    position: int
    timeline: int
    publication: int
    topic: str
    lifted: str | None


class RepairRefusedError(Exception):
    """The log is not in the state that the act is for; the text says which it would need."""


def plan(act: Act, log: LogState) -> tuple[int, int]:
    """The timeline and the publication that an act leads to.

    A new timeline takes the number of its publication: that one was never given before, whatever
    a restore has made the database forget.

    Raises: RepairRefusedError.
    """
    following = max(log.publication, log.highest) + 1
    if act is Act.NEW_PUBLICATION:
        if log.halted is not None:
            raise RepairRefusedError(
                f"The log is halted ({log.halted}): lift the halt once topic and log agree, or "
                "begin a new timeline."
            )
        if not log.published:
            raise RepairRefusedError(
                f"Publication {log.publication} is not known to have held anything: the relay "
                "fills it by itself. If its topic is in the way, delete that."
            )
        return log.timeline, following
    if log.halted is None:
        raise RepairRefusedError("The log is not halted.")
    if act is Act.NEW_TIMELINE:
        return following, following
    return log.timeline, log.publication


async def repair(dsn: str, log: str, act: Act, *, by: str, reason: str) -> Repaired:
    """Do one act and record it, in one transaction; running services notice by themselves.

    Raises: RepairRefusedError; AnotherLogError; driver errors.
    """
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=_TIMEOUT_S)
    try:
        await check_log(connection, log)
        async with connection.transaction():
            state = await _lock(connection)
            timeline, publication = plan(act, state)
            await connection.execute(_CHANGE, timeline, publication)
            place = (state.position, timeline, publication)
            await connection.execute(_RECORD, act, by, reason, state.halted, *place)
    finally:
        await connection.close(timeout=5)
    return Repaired(act, log, *place, events_topic(log, publication), state.halted)


async def _lock(connection: "asyncpg.Connection[asyncpg.Record]") -> LogState:
    """Read the log and let no batch be appended until the transaction ends."""
    head = await connection.fetchrow(_LOCK_HEAD)
    if head is None:
        raise RepairRefusedError("The log was never opened: run migrate first.")
    known = await connection.fetchrow(_PUBLICATIONS, head["publication"])
    assert known is not None  # noqa: S101 - an aggregate answers one row.
    return LogState(**dict(head.items()), **dict(known.items()))
