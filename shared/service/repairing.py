"""Owns the command line of the acts that repair a log: arguments, what is said, exit codes.

Must not decide whether an act is called for.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final, NoReturn

import asyncpg
import orjson

from shared.database.errors import UNREACHABLE
from shared.eventstore.types import AnotherLogError
from shared.messaging.repair import Act, Repaired, RepairRefusedError, repair

_REFUSED: Final = 1
_HELP: Final = {
    Act.LIFT_HALT: "let the relay compare log and topic again, and take commands if they agree",
    Act.NEW_PUBLICATION: "publish the log anew, on a topic of its own: the old one was lost",
    Act.NEW_TIMELINE: "go on from here after a restore to an earlier point: the topic is ahead",
}
_DONE: Final = {
    Act.LIFT_HALT: "The halt of {log} is lifted at position {position}. It was: {lifted}.",
    Act.NEW_PUBLICATION: "Publication {publication} of {log} begins.",
    Act.NEW_TIMELINE: "Timeline {timeline} of {log} begins behind position {position}.",
}
_AGAIN: Final = (
    "Next: the relay compares log and topic again, and halts the log again if they still differ."
)
_ANEW: Final = (
    "Next: the relay makes the topic {topic} and publishes all events on it, from position 1; "
    "readers go over to it by themselves."
)
_NEXT: Final = {
    Act.LIFT_HALT: _AGAIN,
    Act.NEW_PUBLICATION: _ANEW,
    Act.NEW_TIMELINE: f"{_ANEW} A read model that stops with other-history has to be rebuilt.",
}


def repair_log(log: str, arguments: Sequence[str], owner_dsn: Callable[[], str]) -> None:
    """Do what the arguments say and tell about it; end the process when that is refused."""
    chosen = _parser().parse_args(arguments)
    act = Act(chosen.act)
    try:
        done = asyncio.run(repair(owner_dsn(), log, act, by=chosen.by, reason=chosen.reason))
    except (RepairRefusedError, AnotherLogError) as refusal:
        _end(f"Refused, nothing was changed. {refusal}")
    except asyncpg.UndefinedTableError:
        _end("Refused, nothing was changed. The database lacks a migration: run migrate first.")
    except UNREACHABLE as error:
        _end(f"The database does not answer: {type(error).__name__}. Look before you repeat it.")
    sys.stdout.write(_told(done, as_json=chosen.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="log", description="Repair the log of this service.")
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    for act, told in _HELP.items():
        one = acts.add_parser(act.value, help=told, description=told)
        one.add_argument("--by", required=True, type=_said, help="who does it; recorded")
        one.add_argument("--reason", required=True, type=_said, help="why; recorded")
        one.add_argument("--json", action="store_true", help="tell it as JSON")
    return parser


def _said(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must be a text on one line")
    return text.strip()


def _told(done: Repaired, *, as_json: bool) -> str:
    facts = asdict(done)
    following = _NEXT[done.act].format_map(facts)
    if as_json:
        return orjson.dumps({**facts, "next": following}).decode() + "\n"
    return f"{_DONE[done.act].format_map(facts)}\n{following}\n"


def _end(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(_REFUSED)
