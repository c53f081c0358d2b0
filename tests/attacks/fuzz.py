"""Owns sending hostile inputs to every door of a running estate, and counting what came back.

Must not judge; `broken_promises` says what is not as promised. Run it for long:
`python -m tests.attacks.fuzz --inputs 100000 --seed 7`.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.contracts.topics import submissions_topic
from tests.attacks.attacked_estate import LOGS, AttackedEstate, attacked_estate, kind_of
from tests.attacks.mutations import Input, Mutator
from tests.attacks.wire import WireAnswer, send
from tests.support.eventually import eventually

FORGIVEN: Final = frozenset({"not-yet-visible"})
"""Problems that are answered with 503 because the input asks for something that is not there."""
WAITING: Final = (
    *(b"wait_s=", b"min_position=", b"known_at=", b"after="),
    *(b"\r\nContent-Length: ", b"\r\nTransfer-Encoding: "),
)
"""How an input without a body asks to wait, or for a body to be waited for."""
MAX_GROWTH_MIB: Final = 128
MAX_P99_MS: Final = 2_000
"""Of any door, on a busy machine; what was measured is in docs/attacks.md."""
_AT_ONCE: Final = 16
_ANSWER_WITHIN_S: Final = 5.0
_UNFINISHED_WITHIN_S: Final = 0.5
"""How long an answer is waited for when its request may have lost its end."""
_KAFKA_DRAINED_WITHIN_S: Final = 300.0


@dataclass
class Tally:
    """What was sent, what came back and when, and how large the processes were."""

    seed: int
    inputs: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    forgiven: Counter[str] = field(default_factory=Counter)
    unexpected: list[dict[str, Any]] = field(default_factory=list)
    took_ms: dict[str, list[float]] = field(default_factory=dict)
    before_mib: dict[str, float] = field(default_factory=dict)
    after_mib: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, sent: Input, answer: WireAnswer, took_s: float) -> None:
        """Take one answer into account."""
        shown = {0: "closed", -1: "held"}.get(answer.status, str(answer.status))
        self.answers[f"{sent.door} {shown}"] += 1
        if answer.status > 0:
            self.took_ms.setdefault(sent.door, []).append(took_s * 1_000)
        if problem := _forgiven(sent, answer):
            self.forgiven[problem] += 1
        elif answer.status >= 500 or (answer.status <= 0 and not _may_be_held(sent)):
            self.unexpected.append(
                {"door": sent.door, "raw": repr(sent.raw[:2_000]), "answer": repr(answer.raw[:500])}
            )

    def times_ms(self) -> dict[str, dict[str, float]]:
        """How long the answers of each door took, from the connection to their first bytes."""
        return {
            door: {"p99": round(_percentile(took, 99), 1), "longest": round(max(took), 1)}
            for door, took in sorted(self.took_ms.items())
        }

    def broken_promises(self, max_growth_mib: float = MAX_GROWTH_MIB) -> Iterator[str]:
        """What is not as promised."""
        yield from (f"unexpected: {one}" for one in self.unexpected)
        for name, after in self.after_mib.items():
            if (growth := after - self.before_mib[name]) > max_growth_mib:
                yield f"{name} grew by {growth:.0f} MiB"
        for door, took in self.times_ms().items():
            if took["p99"] > MAX_P99_MS:
                yield f"one in a hundred answers to {door} took {took['p99']:.0f} ms or more"

    def report(self) -> dict[str, Any]:
        """The whole of it, as plain data."""
        told = {**asdict(self), "answers": dict(sorted(self.answers.items()))}
        return {**told, "took_ms": self.times_ms()}


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[(len(values) - 1) * percent // 100]


def _may_be_held(sent: Input) -> bool:
    """Changed bytes may have no end; a head may ask for what is waited for."""
    return sent.door == "bytes" or (
        sent.door == "head" and any(name in sent.raw for name in WAITING)
    )


def _forgiven(sent: Input, answer: WireAnswer) -> str:
    """The problem of a 503 that is as it should be; empty for every other answer."""
    if answer.status != 503:
        return ""
    try:
        problem = kind_of(json.loads(answer.raw.partition(b"\r\n\r\n")[2]))
    except ValueError:
        return "HEAD, which has no body" if sent.raw.startswith(b"HEAD ") else ""
    return problem if problem in FORGIVEN else ""


async def fuzz(estate: AttackedEstate, inputs: int, seed: int) -> Tally:
    """Send so many inputs; returns when everything sent to Kafka has been decided."""
    await _give_target(estate, seed)
    keys = tuple(estate.keys[name] for name in ("a", "admin", "b", "operator", "forged", "nobody"))
    mutator, tally = Mutator(seed, keys), Tally(seed, before_mib=resident_mib(estate))
    started = time.monotonic()
    producer = AIOKafkaProducer(**estate.backing.kafka.client_options())
    await producer.start()
    try:
        await _send_all(estate, producer, mutator, tally, inputs)
        for service in LOGS:
            await _drained(estate, producer, service, seed)
    finally:
        await producer.stop()
    tally.after_mib = resident_mib(estate)
    tally.seconds = round(time.monotonic() - started, 1)
    return tally


async def _give_target(estate: AttackedEstate, seed: int) -> None:
    body = {"name": f"Fuzz {seed}", "kind": "component", "aliases": ["fuzz:target"]}
    answer = await estate.ask("registry", "POST", "/v1/services", as_="a", body=body)
    assert answer.status in {201, 409}


async def _send_all(
    estate: AttackedEstate,
    producer: AIOKafkaProducer,
    mutator: Mutator,
    tally: Tally,
    inputs: int,
) -> None:
    left = iter(range(inputs))

    async def work() -> None:
        for _ in left:
            sent = mutator.next()
            tally.inputs += 1
            if sent.door == "record":
                await _produce(estate, producer, sent, tally)
            else:
                within_s = _UNFINISHED_WITHIN_S if sent.door == "bytes" else _ANSWER_WITHIN_S
                began = time.monotonic()
                answer = await send(
                    estate.port(sent.service), sent.raw, wait_s=within_s, whole=False
                )
                tally.count(sent, answer, time.monotonic() - began)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _produce(
    estate: AttackedEstate, producer: AIOKafkaProducer, sent: Input, tally: Tally
) -> None:
    topic = submissions_topic(sent.service, estate.ids["a"])
    try:
        await producer.send(topic, sent.raw, key=sent.key, headers=list(sent.headers))
        tally.answers["record sent"] += 1
    except KafkaError as error:
        tally.answers[f"record {type(error).__name__}"] += 1


async def _drained(
    estate: AttackedEstate, producer: AIOKafkaProducer, service: str, seed: int
) -> None:
    """Records of a topic are decided in order, so that the last one tells."""
    last = {"source": "fuzz", "id": f"last-{seed}-{time.monotonic_ns()}"}
    event = {**last, "specversion": "1.0", "type": "estate.none.at_all.v1", "data": {}}
    topic = submissions_topic(service, estate.ids["a"])
    await producer.send_and_wait(topic, json.dumps(event).encode())

    async def is_decided() -> bool:
        answer = await estate.ask(service, "GET", "/v1/submissions", as_="a", query=last)
        return bool(answer.document["status"] == "rejected")

    await eventually(is_decided, _KAFKA_DRAINED_WITHIN_S)


def resident_mib(estate: AttackedEstate) -> dict[str, float]:
    """How much memory each service holds."""
    return {name: _resident_mib(pid) for name, pid in estate.pids().items()}


def _resident_mib(pid: int) -> float:
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return round(int(listed.stdout) / 1024, 1)


async def _main(inputs: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="estate-fuzz-", ignore_cleanup_errors=True) as folder:
        async with attacked_estate(Path(folder)) as estate:
            tally = await fuzz(estate, inputs, seed)
            heads = await estate.heads()
            report = {**tally.report(), "heads": heads}
            print(json.dumps(report, indent=2), flush=True)  # noqa: T201 - a report.
    return 1 if list(tally.broken_promises()) else 0


def main() -> int:
    """Run it; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    return asyncio.run(_main(chosen.inputs, chosen.seed))


if __name__ == "__main__":
    raise SystemExit(main())
