"""The verifier names what was changed in a log, and where."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest

from shared.audit.findings import Fault
from shared.audit.merkle import EMPTY_ROOT
from shared.audit.rows import Row
from shared.audit.verify import verify_log
from shared.contracts.canonical import canonical_bytes
from shared.eventstore.merkle import Frontier
from tests.unit.audit.log_building import SmallLog, batches, build_log, head_of, row_of, verify

LOG = build_log(50)
WHERE = (1, 16, 17, 33, 50)  # First and last of the log and of batches.


def at(fault: Fault | None) -> tuple[int | None, str]:
    assert fault is not None
    return fault.position, fault.reason


@pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
async def test_clean_log_is_ok_with_the_root_of_its_head(batch_size: int) -> None:
    report = await verify(LOG, batch_size=batch_size)
    assert report.first_fault is None
    assert (report.position, report.checked) == (50, 50)
    assert report.root == Frontier.from_bytes(50, LOG.head.tree).root()


async def test_empty_log_is_ok() -> None:
    report = await verify(build_log(0))
    assert (report.first_fault, report.position, report.root) == (None, 0, EMPTY_ROOT)


async def test_processes_report_as_one_does() -> None:
    log = LOG.with_row(33, stream=b"service-other")
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        clean = await verify_log(batches(LOG.rows), LOG.head, executor=executor)
        tampered = await verify_log(batches(log.rows), log.head, executor=executor)
    assert clean == await verify(LOG)
    assert tampered == await verify(log)


CHANGES: list[tuple[str, Callable[[Row], object], str]] = [
    ("stream", lambda row: (row.stream or b"") + b"0", "column-mismatch"),
    ("stream_version", lambda row: (row.stream_version or 0) + 1, "column-mismatch"),
    ("type", lambda _: b"estate.service.retired.v1", "column-mismatch"),
    ("recorded_us", lambda row: (row.recorded_us or 0) + 1, "column-mismatch"),
    ("recorded_us", lambda _: -(2**63), "column-mismatch"),
    ("leaf", lambda _: bytes(32), "leaf-mismatch"),
    ("leaf", lambda _: b"", "leaf-mismatch"),
    ("body", lambda _: b"", "body-unreadable"),
    ("body", lambda _: b"[]", "body-unreadable"),
    ("body", lambda row: b"\xff" + (row.body or b""), "body-unreadable"),
    ("body", lambda row: b" " + (row.body or b""), "body-not-canonical"),
    ("body", lambda row: (row.body or b"") + b"\n", "body-not-canonical"),
    ("body", lambda _: b"[" * 100_000, "body-not-canonical"),
    ("body", lambda _: b"1" * 2_000_000, "body-unreadable"),
    *((column, lambda _row: None, "") for column in Row._fields if column != "position"),
]


@pytest.mark.parametrize(("column", "change", "reason"), CHANGES)
@pytest.mark.parametrize("position", WHERE)
async def test_changed_column_is_named(
    position: int, column: str, change: Callable[[Row], object], reason: str
) -> None:
    row = LOG.rows[position - 1]
    report = await verify(LOG.with_row(position, **{column: change(row)}))
    fault = report.first_fault
    assert fault is not None
    assert fault.position == position
    assert not reason or fault.reason == reason
    assert report.checked == position - 1


def _reordered(body: bytes) -> bytes:
    return json.dumps(dict(reversed(json.loads(body).items())), separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        _reordered,
        lambda body: body.replace(b'"door":"http"', b'"door": "http"'),
        lambda body: body.replace(b'"door":"http"', b'"door":"\\u0068ttp"'),
        lambda body: body.replace(b'"door":"http"', b'"door":"http","door":"http"'),
        lambda body: body.replace(b'"data":{', b'"data":{"a":1,"a":1,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":1.0,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":1e2,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":-0,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":NaN,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":9007199254740992,'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":"\\ud800",'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":"\\u0000",'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":"\\/",'),
        lambda body: body.replace(b'"data":{', b'"data":{"A":"e\xcc\x81",'),
        lambda body: body.replace(b'"data":{', '"data":{"é":1,'.encode()),
    ],
)
async def test_body_that_is_not_canonical_is_named(change: Callable[[bytes], bytes]) -> None:
    position = next(i for i, body in enumerate(LOG.bodies, 1) if b'"data":{"' in body)
    changed = change(LOG.bodies[position - 1])
    assert changed != LOG.bodies[position - 1]
    report = await verify(LOG.with_row(position, body=changed))
    assert at(report.first_fault) == (position, "body-not-canonical")


@pytest.mark.parametrize("column", ["body", "leaf"])
async def test_any_flipped_byte_is_named(column: str) -> None:
    chance = random.Random(f"flips of {column}")  # noqa: S311 - repeatable on purpose.
    log = build_log(300, seed=7)
    for position in range(1, 301):
        value = bytearray(getattr(log.rows[position - 1], column))
        value[chance.randrange(len(value))] ^= chance.randrange(1, 256)
        tampered = log.with_row(position, **{column: bytes(value)})
        near = replace(tampered, rows=tampered.rows[: position + 1])
        report = await verify(near)
        fault = report.first_fault
        assert fault is not None
        assert fault.position == position, (column, position, fault)


@pytest.mark.parametrize("position", WHERE)
async def test_deleted_row_is_named(position: int) -> None:
    rows = LOG.rows[: position - 1] + LOG.rows[position:]
    report = await verify(replace(LOG, rows=rows))
    assert at(report.first_fault) == (position, "position-missing")


async def test_truncated_tail_is_named() -> None:
    report = await verify(replace(LOG, rows=LOG.rows[:40]))
    assert at(report.first_fault) == (41, "position-missing")
    assert report.position == 40


@pytest.mark.parametrize("position", WHERE)
async def test_repeated_position_is_named(position: int) -> None:
    rows = (*LOG.rows[:position], LOG.rows[position - 1], *LOG.rows[position:])
    report = await verify(replace(LOG, rows=rows))
    assert at(report.first_fault) == (position, "position-repeated")


@pytest.mark.parametrize("moved_to", [-1, 0, 60, None])
async def test_moved_row_is_named(moved_to: int | None) -> None:
    moved = LOG.rows[16]._replace(position=moved_to)
    others = LOG.rows[:16] + LOG.rows[17:]
    is_first = moved_to is not None and moved_to < 1
    log = replace(LOG, rows=(moved, *others) if is_first else (*others, moved))
    report = await verify(log)
    expected = (moved_to, "position-unexpected") if is_first else (17, "position-missing")
    assert at(report.first_fault) == expected


async def test_last_row_without_position_is_named() -> None:
    report = await verify(LOG.with_row(50, position=None))
    assert at(report.first_fault) == (50, "position-missing")


@pytest.mark.parametrize(("one", "other"), [(3, 9), (16, 17), (1, 50)])
async def test_swapped_rows_are_named_by_the_first(one: int, other: int) -> None:
    first, second = LOG.rows[one - 1], LOG.rows[other - 1]
    log = LOG.with_row(one, **second._replace(position=one)._asdict())
    log = log.with_row(other, **first._replace(position=other)._asdict())
    report = await verify(log)
    assert at(report.first_fault) == (one, "column-mismatch")


async def test_appended_row_is_named() -> None:
    longer = build_log(51)
    report = await verify(replace(longer, head=head_of(longer.rows[:50])))
    assert at(report.first_fault) == (51, "position-beyond-head")


async def test_row_beyond_head_is_named_before_a_fault_behind_it() -> None:
    log = replace(LOG, head=head_of(LOG.rows[:10])).with_row(40, leaf=bytes(32))
    report = await verify(log)
    assert at(report.first_fault) == (11, "position-beyond-head")


async def test_lowest_of_several_faults_is_named() -> None:
    log = LOG.with_row(40, leaf=bytes(32)).with_row(20, type=b"x").with_row(30, body=b"")
    report = await verify(log)
    assert at(report.first_fault) == (20, "column-mismatch")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"position": "18"}, "position-missing"),
        ({"streamversion": "900"}, "stream-version-gap"),
        ({"recordedtime": "2026-01-01T00:00:00.000000Z"}, "recorded-time-not-increasing"),
        ({"source": "estate/dependencies"}, "other-log"),
        ({"timeline": "2"}, "timeline-ahead"),
        ({"timeline": "02"}, "envelope-malformed"),
        ({"time": "2026-02-30T00:00:00.000000Z"}, "envelope-malformed"),
        ({"time": "2026-02-03T00:00:00Z"}, "envelope-malformed"),
        ({"door": "HTTP"}, "envelope-malformed"),
        ({"actor": ""}, "envelope-malformed"),
        ({"actor": 5}, "envelope-malformed"),
        ({"specversion": "0.3"}, "envelope-malformed"),
        ({"colour": "red"}, "envelope-malformed"),
    ],
)
async def test_event_right_by_itself_but_wrong_in_its_log_is_named(
    attributes: dict[str, object], reason: str
) -> None:
    log = LOG.resealed(17, **attributes)
    report = await verify(log.with_own_head())
    assert at(report.first_fault) == (17, reason)


@pytest.mark.parametrize(
    "name", ["actor", "door", "time", "id", "datacontenttype", "specversion", "causationid"]
)
async def test_missing_attribute_is_named(name: str) -> None:
    event = json.loads(LOG.bodies[16])
    del event[name]
    row = row_of(canonical_bytes(event))
    report = await verify(LOG.with_row(17, **row._asdict()).with_own_head())
    assert at(report.first_fault) == (17, "envelope-incomplete")


async def test_timeline_may_rise_but_not_fall() -> None:
    log = build_log(10)
    for position in range(5, 11):
        log = log.resealed(position, timeline="2")
    log = replace(log.with_own_head(), head=replace(head_of(log.rows), timeline=2))
    assert (await verify(log)).first_fault is None
    fallen = log.resealed(7, timeline="1")
    assert at((await verify(fallen)).first_fault) == (7, "timeline-decreasing")


def _redacted(log: SmallLog, position: int, *names: str) -> SmallLog:
    event = json.loads(log.bodies[position - 1])
    for name in names:
        del event[name]
    return log.with_row(position, body=canonical_bytes(event))


async def test_redacted_event_keeps_the_log_right_and_is_counted() -> None:
    report = await verify(_redacted(LOG, 17, "data", "datasalt"))
    assert (report.first_fault, report.redacted) == (None, 1)
    assert report.root == (await verify(LOG)).root


@pytest.mark.parametrize("name", ["data", "datasalt"])
async def test_event_redacted_by_half_is_named(name: str) -> None:
    report = await verify(_redacted(LOG, 17, name))
    assert at(report.first_fault) == (17, "data-mismatch")


async def test_rewritten_row_leaves_a_root_mismatch_that_says_what_would_find_it() -> None:
    report = await verify(LOG.resealed(21, actor="somebody-else"))
    assert at(report.first_fault) == (None, "root-mismatch")
    assert report.first_fault is not None
    assert "1-32" in report.first_fault.detail
    assert "a checkpoint or the topic is needed" in report.first_fault.detail


async def test_topic_names_the_row_that_was_rewritten() -> None:
    report = await verify(LOG.resealed(21, actor="somebody-else"), topic=LOG.bodies)
    assert at(report.first_fault) == (21, "topic-mismatch")
    assert report.checked == 20


async def test_topic_names_a_lower_row_than_the_rows_do() -> None:
    log = LOG.resealed(21, actor="somebody-else").with_row(25, leaf=bytes(32))
    report = await verify(log, topic=LOG.bodies)
    assert at(report.first_fault) == (21, "topic-mismatch")


async def test_changed_head_is_told_from_changed_rows_by_the_topic() -> None:
    log = replace(LOG, head=replace(LOG.head, tree=bytes(len(LOG.head.tree))))
    report = await verify(log, topic=LOG.bodies)
    assert at(report.first_fault) == (None, "root-mismatch")
    assert report.first_fault is not None
    assert "the head itself was changed" in report.first_fault.detail


@pytest.mark.parametrize("tree", [b"", b"x", LOG.head.tree[:-1], LOG.head.tree + bytes(32)])
async def test_head_whose_tree_has_another_size_is_named(tree: bytes) -> None:
    report = await verify(replace(LOG, head=replace(LOG.head, tree=tree)))
    assert at(report.first_fault) == (None, "head-mismatch")


async def test_rewrite_of_everything_is_caught_by_a_kept_checkpoint_only() -> None:
    rewritten = build_log(50, seed=2)
    assert (await verify(rewritten)).first_fault is None
    for kept in (1, 16, 33, 50):
        report = await verify(rewritten, checkpoint=LOG.checkpoint(kept))
        assert at(report.first_fault) == (kept, "checkpoint-mismatch")


async def test_rewrite_behind_the_checkpoint_is_not_its_to_see() -> None:
    rewritten = LOG.resealed(45, actor="somebody-else").with_own_head()
    assert (await verify(rewritten, checkpoint=LOG.checkpoint(44))).first_fault is None
    report = await verify(rewritten, checkpoint=LOG.checkpoint(45))
    assert at(report.first_fault) == (45, "checkpoint-mismatch")


@pytest.mark.parametrize("kept", [0, 1, 15, 16, 17, 50])
async def test_kept_checkpoint_of_the_same_log_is_no_alarm(kept: int) -> None:
    assert (await verify(LOG, checkpoint=LOG.checkpoint(kept))).first_fault is None


async def test_log_shorter_than_the_checkpoint_is_truncated() -> None:
    shorter = build_log(50)
    shorter = SmallLog(shorter.rows[:40], head_of(shorter.rows[:40]))
    report = await verify(shorter, checkpoint=LOG.checkpoint())
    assert at(report.first_fault) == (41, "truncated")


async def test_topic_and_checkpoint_together_name_the_lower_position() -> None:
    rewritten = LOG.resealed(21, actor="somebody-else").with_own_head()
    report = await verify(rewritten, checkpoint=LOG.checkpoint(30), topic=LOG.bodies)
    assert at(report.first_fault) == (21, "topic-mismatch")


async def test_topic_behind_the_log_is_lag() -> None:
    report = await verify(LOG, topic=LOG.bodies[:30])
    assert (report.first_fault, report.topic_position) == (None, 30)


async def test_topic_ahead_of_the_log_is_a_fault() -> None:
    shorter = SmallLog(LOG.rows[:40], head_of(LOG.rows[:40]))
    report = await verify(shorter, topic=LOG.bodies)
    assert at(report.first_fault) == (41, "topic-ahead")


async def test_topic_may_repeat_records_with_the_same_bytes() -> None:
    bodies = LOG.bodies
    report = await verify(LOG, topic=[*bodies[:20], *bodies[17:20], *bodies[18:]])
    assert (report.first_fault, report.topic_position) == (None, 50)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ([*LOG.bodies[:5], *LOG.bodies[6:]], (6, "topic-gap")),
        (LOG.bodies[3:], (1, "topic-gap")),
        ([LOG.bodies[0], LOG.bodies[2], LOG.bodies[1]], (2, "topic-gap")),
        ([*LOG.bodies[:9], b"{}"], (10, "topic-unreadable")),
        ([*LOG.bodies[:9], b""], (10, "topic-unreadable")),
        (
            [*LOG.bodies[:9], LOG.bodies[4].replace(b"principal-1", b"principal-2")],
            (5, "topic-repeats-otherwise"),
        ),
    ],
)
async def test_topic_out_of_order_is_named(topic: list[bytes], expected: tuple[int, str]) -> None:
    assert at((await verify(LOG, topic=topic)).first_fault) == expected


async def test_progress_reaches_the_end() -> None:
    seen: list[int] = []
    await verify_log(batches(LOG.rows), LOG.head, on_progress=seen.append)
    assert seen == [16, 32, 48, 50]
