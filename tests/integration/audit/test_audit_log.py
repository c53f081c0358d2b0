"""What a superuser changes in the database is named by its position."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.verifying import verify_and_keep
from deploy.local.launcher import BackingServices
from shared.audit.audit import audit_log
from shared.audit.checkpoint import CheckpointError, format_checkpoint, make_checkpoint
from shared.audit.checkpoint import parse_checkpoint as parse
from shared.audit.findings import Fault
from shared.audit.postgres_source import SourceUnreadableError
from shared.clock import SystemClock
from tests.integration.audit.audited_log import SIZE, AuditedLog, with_database, write_log

MADE_AT = datetime(2026, 3, 1, tzinfo=UTC)


def at(fault: Fault | None) -> tuple[int | None, str]:
    assert fault is not None
    return fault.position, fault.reason


async def test_clean_log_is_ok(written: AuditedLog) -> None:
    seen: list[tuple[str, int, int]] = []
    report = await audit_log(
        written.reader_dsn,
        on_progress=lambda what, position, last: seen.append((what, position, last)),
    )
    assert report.first_fault is None
    assert (report.log, report.position, report.checked) == ("registry", SIZE, SIZE)
    assert seen == [("rows", SIZE, SIZE)]


REPLACED = "convert_to(replace(convert_from(body, 'UTF8'), '{}', '{}'), 'UTF8')"
UPDATES = [
    ("stream = stream || 'x'", "column-mismatch"),
    ("stream_version = stream_version + 1000", "column-mismatch"),
    ("type = 'estate.service.retired.v1'", "column-mismatch"),
    ("recorded_at = recorded_at + interval '1 microsecond'", "column-mismatch"),
    ("recorded_at = 'infinity'", "column-mismatch"),
    ("recorded_at = '4000-01-01 BC'", "column-mismatch"),
    ("leaf = set_byte(leaf, 31, get_byte(leaf, 31) # 1)", "leaf-mismatch"),
    ("leaf = ''", "leaf-mismatch"),
    ("body = set_byte(body, 0, 91)", "body-unreadable"),
    ("body = body || '\\x20'", "body-not-canonical"),
    ("body = ''", "body-unreadable"),
    (
        "body = convert_to(replace(convert_from(body, 'UTF8'), 'gwas', 'Gwas'), 'UTF8')",
        "data-mismatch",
    ),
    (
        "body = convert_to(replace(convert_from(body, 'UTF8'), 'prn_', 'prm_'), 'UTF8')",
        "leaf-mismatch",
    ),
]


@pytest.mark.parametrize(("change", "reason"), UPDATES)
@pytest.mark.parametrize("position", [1, 31, SIZE])
async def test_updated_column_is_named(
    log: AuditedLog, position: int, change: str, reason: str
) -> None:
    await log.tamper(f"UPDATE log.events SET {change} WHERE position = {position}")
    report = await audit_log(log.reader_dsn)
    assert at(report.first_fault) == (position, reason)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["DELETE FROM log.events WHERE position = 17"], (17, "position-missing")),
        (["DELETE FROM log.events WHERE position = 1"], (1, "position-missing")),
        (["DELETE FROM log.events WHERE position > 50"], (51, "position-missing")),
        (["DELETE FROM log.events"], (1, "position-missing")),
        (["UPDATE log.events SET position = 900 WHERE position = 17"], (17, "position-missing")),
        (
            [
                "CREATE TABLE another AS SELECT * FROM log.events WHERE position = 60",
                "UPDATE another SET position = 61, stream = 'x-1'",
                "INSERT INTO log.events SELECT * FROM another",
            ],
            (61, "column-mismatch"),
        ),
        (
            [
                "UPDATE log.events SET position = position + 1000 WHERE position IN (17, 23)",
                "UPDATE log.events SET position = 1040 - position WHERE position > 1000",
            ],
            (17, "column-mismatch"),
        ),
        (
            [
                "ALTER TABLE log.events DROP CONSTRAINT events_pkey",
                "ALTER TABLE log.events DROP CONSTRAINT events_stream_stream_version_key",
                "INSERT INTO log.events SELECT * FROM log.events WHERE position = 17",
            ],
            (17, "position-repeated"),
        ),
        (
            [
                "ALTER TABLE log.events DROP CONSTRAINT events_pkey",
                "ALTER TABLE log.events ALTER position DROP NOT NULL",
                "UPDATE log.events SET position = NULL WHERE position = 60",
            ],
            (60, "position-missing"),
        ),
        (
            [
                "ALTER TABLE log.events ALTER leaf DROP NOT NULL",
                "UPDATE log.events SET leaf = NULL WHERE position = 17",
            ],
            (17, "leaf-mismatch"),
        ),
        (["UPDATE log.head SET position = 59"], (60, "position-beyond-head")),
        (["UPDATE log.head SET position = 61"], (61, "position-missing")),
        (["UPDATE log.head SET tree = sha256(tree) || substr(tree, 33)"], (None, "root-mismatch")),
        (["UPDATE log.head SET tree = ''"], (None, "head-mismatch")),
        (["UPDATE log.head SET recorded_at = '-infinity'"], (None, "head-mismatch")),
        (["UPDATE log.head SET log = 'other'"], (1, "other-log")),
        (["UPDATE log.commands SET last_position = 99"], (2, "command-dangling")),
        (["DELETE FROM log.commands WHERE first_position = 9"], (9, "command-dangling")),
        (
            ["UPDATE log.commands SET first_position = 8 WHERE first_position = 9"],
            (8, "command-dangling"),
        ),
        (["DELETE FROM log.commands WHERE last_position = 60"], (60, "command-dangling")),
        (["UPDATE log.claims SET position = 99 WHERE position = 9"], (99, "claim-dangling")),
        (["UPDATE log.claims SET stream = 'service-x' WHERE position = 9"], (9, "claim-dangling")),
    ],
)  # fmt: skip
async def test_tampering_is_named(
    log: AuditedLog, statements: list[str], expected: tuple[int | None, str]
) -> None:
    await log.tamper(*statements)
    assert at((await audit_log(log.reader_dsn)).first_fault) == expected


async def test_rewrite_of_everything_is_caught_against_a_kept_checkpoint(
    backing: BackingServices, written: AuditedLog
) -> None:
    kept = parse(
        format_checkpoint(make_checkpoint([await audit_log(written.reader_dsn)], MADE_AT)).encode()
    )
    rewritten = await write_log(backing.postgres_dsn, source="false")
    assert (await audit_log(rewritten.reader_dsn)).first_fault is None
    report = await audit_log(rewritten.reader_dsn, against=kept)
    assert at(report.first_fault) == (SIZE, "checkpoint-mismatch")
    assert (await audit_log(written.reader_dsn, against=kept)).first_fault is None


async def test_consistent_truncation_is_caught_against_a_kept_checkpoint(
    log: AuditedLog, written: AuditedLog
) -> None:
    kept = make_checkpoint([await audit_log(written.reader_dsn)], MADE_AT)
    # 32 events are one complete subtree: its root is the first in the head's tree.
    await log.tamper(
        "DELETE FROM log.claims WHERE position > 32",
        "DELETE FROM log.commands WHERE last_position > 32",
        "DELETE FROM log.events WHERE position > 32",
        "UPDATE log.head SET position = 32, tree = substr(tree, 1, 32)",
    )
    assert (await audit_log(log.reader_dsn)).first_fault is None
    assert at((await audit_log(log.reader_dsn, against=kept)).first_fault) == (33, "truncated")


async def test_many_events_are_checked_by_processes(
    log: AuditedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.audit.audit.WORTH_PROCESSES", 1)
    assert (await audit_log(log.reader_dsn)).first_fault is None
    await log.tamper("UPDATE log.events SET leaf = '' WHERE position = 31")
    assert at((await audit_log(log.reader_dsn)).first_fault) == (31, "leaf-mismatch")


async def test_checkpoint_of_another_log_is_refused(log: AuditedLog) -> None:
    kept = make_checkpoint([await audit_log(log.reader_dsn)], MADE_AT)
    await log.tamper("UPDATE log.head SET log = 'dependencies'")
    with pytest.raises(CheckpointError, match="dependencies"):
        await audit_log(log.reader_dsn, against=kept)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM log.head", "DROP TABLE log.events", "DROP SCHEMA log CASCADE"]
)
async def test_log_that_is_not_there_cannot_be_read(log: AuditedLog, statement: str) -> None:
    await log.tamper(statement)
    with pytest.raises(SourceUnreadableError):
        await audit_log(log.reader_dsn)


async def test_database_that_is_not_there_cannot_be_read(log: AuditedLog) -> None:
    with pytest.raises(SourceUnreadableError, match="cannot be reached"):
        await audit_log(with_database(log.reader_dsn, "audit_nowhere"))


async def test_a_kept_checkpoint_is_held_against_the_log_before_it_is_replaced(
    backing: BackingServices, log: AuditedLog, tmp_path: Path
) -> None:
    path, clock = tmp_path / "checkpoint.json", SystemClock()
    other = await write_log(backing.postgres_dsn, source="other")
    (first,) = await verify_and_keep(path, {"registry": log.reader_dsn}, None, clock)
    kept = path.read_bytes()
    (again,) = await verify_and_keep(path, {"registry": log.reader_dsn}, None, clock)
    assert first == again
    replaced = path.read_bytes()
    assert replaced != kept

    (report,) = await verify_and_keep(path, {"registry": other.reader_dsn}, None, clock)

    assert at(report.first_fault)[1] == "checkpoint-mismatch"
    assert path.read_bytes() == replaced
