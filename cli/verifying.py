"""Owns verifying every log of a run, from its rows and its topic, against a kept checkpoint.

Must not talk to the services: what they say of themselves proves nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from shared.audit.audit import audit_log
from shared.audit.checkpoint import (
    Checkpoint,
    make_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from shared.audit.findings import LogReport
from shared.clock import Clock
from shared.messaging.kafka import KafkaSettings, drop_consumer, start_consumer

LOGS: Final = ("registry", "dependencies")
_FETCH_BYTES: Final = 4 * 1024 * 1024

Watch = Callable[[str, str, int, int], None]
"""Told a log, what of it is being read, the position reached and the last one."""


async def verify_logs(
    databases: Mapping[str, str],
    kafka: KafkaSettings | None,
    *,
    against: Checkpoint | None = None,
    on_progress: Watch = lambda _log, _what, _position, _last: None,
) -> list[LogReport]:
    """Verify each log; `databases` are addresses by log, `kafka` is None to leave topics out.

    Raises: SourceUnreadableError, CheckpointError, KafkaUnreachableError.
    """
    reports = []
    for log in LOGS:
        if log not in databases:
            continue

        def watch(what: str, position: int, last: int, log: str = log) -> None:
            on_progress(log, what, position, last)

        consumer = None
        if kafka is not None:
            consumer = await start_consumer(kafka, partition_fetch_max_bytes=_FETCH_BYTES)
        try:
            reports.append(
                await audit_log(
                    databases[log], against=against, consumer=consumer, on_progress=watch
                )
            )
        finally:
            if consumer is not None:
                await drop_consumer(consumer)
    return reports


async def verify_and_keep(
    path: Path, databases: Mapping[str, str], kafka: KafkaSettings | None, clock: Clock
) -> list[LogReport]:
    """Verify each log against the checkpoint that is kept, if one is; then keep the new one.

    A log with a fault leaves the former checkpoint where it is.

    Raises: SourceUnreadableError, CheckpointError, KafkaUnreachableError.
    """
    reports = await verify_logs(databases, kafka, against=_kept(path))
    if all(report.first_fault is None for report in reports):
        write_checkpoint(path, make_checkpoint(reports, clock.now()))
    return reports


def _kept(path: Path) -> Checkpoint | None:
    return read_checkpoint(path) if path.exists() else None
