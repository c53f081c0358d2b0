"""Owns the oracle: after any fault, whether all that was promised holds. One for every fault.

Must not trust what the services say of themselves where log, topic and ledger can be read.
Usage: python -m tests.faults.oracle --state DIR --ledger FILE [--quick]
"""

import argparse
import asyncio
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from shared.messaging.kafka import KafkaSettings
from shared.observability.logs import configure_logging
from tests.faults import held_log, held_views
from tests.faults.held_log import Held
from tests.faults.held_secrets import Hidden, shown_in_logs, shown_in_metrics, shown_on_topics
from tests.faults.ledger import Told, read_ledger
from tests.faults.world import LOGS, secrets_of

_SHOWN: Final = 20


@dataclass(slots=True)
class Verdict:
    """What the oracle found; `counts` says how much it looked at."""

    violations: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The verdict as JSON; the first violation comes first."""
        found = asdict(self)
        found["ok"] = not self.violations
        found["first"] = self.violations[0] if self.violations else None
        found["violations"] = self.violations[:_SHOWN]
        return found


async def judge(state: Path, ledger: Path, *, quick: bool) -> Verdict:
    """Hold everything against the ledger; `quick` leaves out replays and the audit."""
    addresses = orjson.loads((state / "addresses.json").read_bytes())
    kafka = KafkaSettings(**addresses["kafka"])
    databases = addresses["databases"]
    admin, emitter = (
        (state / "keys" / f"{name}.key").read_text().strip() for name in ("admin", "emitter")
    )
    told, verdict = read_ledger(ledger), Verdict()
    verdict.violations += told.violations
    async with aiohttp.ClientSession() as session:
        views = held_views.Views(session, addresses, {"admin": admin, "emitter": emitter})
        await views.resolve(told, verdict.violations)
        await views.settled(databases, verdict.violations)
        logs = {log: await held_log.read_log(databases[log], log) for log in LOGS}
        _hold_ledger(told, logs, verdict)
        for held in logs.values():
            verdict.violations += held_log.faults_of_log(held)
            verdict.violations += await held_log.faults_of_topic(held, kafka)
        verdict.violations += held_views.faults_of_feed(await views.changes(), logs)
        for followed in ("feed.jsonl", "stream.jsonl"):
            verdict.violations += held_views.faults_of_follower(state / followed, logs)
        verdict.violations += held_views.faults_of_ends(await views.dependencies(), logs)
        hidden = Hidden.of(told, secrets_of(state))
        verdict.violations += await shown_in_metrics(session, addresses, admin, hidden)
    verdict.violations += shown_in_logs(state, hidden)
    verdict.violations += await shown_on_topics(kafka, hidden)
    if not quick:
        verdict.violations += await held_views.faults_of_models(databases, kafka)
        verdict.violations += await held_views.faults_of_trees(databases, kafka)
    return verdict


def _hold_ledger(told: Told, logs: dict[str, Held], verdict: Verdict) -> None:
    found = [held_log.hold_entry(entry, logs[entry.request.log]) for entry in told.entries.values()]
    strangers = [
        f"an event that nobody asked for: {key}"
        for held in logs.values()
        for key in held.by_key.keys() | held.commands.keys()
        if key not in told.entries
    ]
    verdict.lost = sum(one.startswith("lost") for one in (*found, *told.violations))
    verdict.doubled = sum(one.startswith("doubled") for one in found) + len(strangers)
    verdict.violations += [one for one in found if one] + strangers
    states = [entry.state for entry in told.entries.values()]
    verdict.counts = {state: states.count(state) for state in ("accepted", "refused", "unknown")}
    verdict.counts |= {log: len(held.events) for log, held in logs.items()}


def main(arguments: list[str]) -> int:
    """Print the verdict as JSON; 1 on any violation."""
    parser = argparse.ArgumentParser(prog="oracle")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args(arguments)
    configure_logging("oracle", "ERROR")
    verdict = asyncio.run(judge(asked.state, asked.ledger, quick=asked.quick))
    sys.stdout.write(orjson.dumps(verdict.document, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
